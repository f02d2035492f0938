/**
 * The shard manager: one shard at a time, selected by a distribution value, for applications that are written so and for raw SQL. `fed.at(key)` is the better way for
 * everything that can be written with it: it needs no state.
 *
 * A manager belongs to one request. It keeps what is selected and the transaction that is open, and nothing else; two managers share nothing but the federation's connections.
 * Selections and beginnings come in the order in which they were called, also when nobody awaits them in between. Whatever fails leaves the selection as it was.
 */
import type { ControlledTransaction, Kysely } from "kysely";
import { TesseraeError } from "./base/errors.ts";
import { resolveChooser, type ShardChooser, type ShardChooserClass } from "./directory/choosers.ts";
import type { ControlStore } from "./engine/control-store.ts";
import type { KeyValue } from "./schema/logical-type.ts";
import type { DialectKit } from "./session/dialect-kit.ts";
import type { Target } from "./session/target.ts";
import { refuseUnknownOptions } from "./shard-manager/manager-options.ts";
import { listMembers, type MemberSources } from "./shard-manager/members.ts";
import { type QueryAllOptions, queryAll, type Row } from "./shard-manager/query-all.ts";
import { rawStatement, runRaw } from "./shard-manager/raw-sql.ts";
import {
  type AnySession,
  type Selection,
  type SelectionParts,
  select,
  switchRefused,
  whyNoSwitch,
} from "./shard-manager/selection.ts";

export interface ShardManagerOptions {
  /** Which shard a distribution value leads to, where that is not the directory's to say: an object with `pickShard`, or a class of them. Default: the directory. */
  readonly chooser?: ShardChooser | ShardChooserClass;
  /** Whether filtering is on from the beginning. Default false. */
  readonly filtering?: boolean;
}

/** A shard as `getShards` lists it: one entry for each range, and one for each shard without any. */
export interface ShardEntry<Key extends KeyValue = KeyValue> {
  readonly id: number;
  /** The first key of the range; null: it has no beginning, or the shard has no range. */
  readonly rangeLow: Key | null;
  /** The first key that is not in the range any more; null: it has no end, or the shard has no range. */
  readonly rangeHigh: Key | null;
  /** `points`: the shard has no range, but keys that have a place of their own, or none yet. */
  readonly kind: "range" | "points";
}

export interface ShardManagerParts extends SelectionParts, MemberSources {
  readonly control: ControlStore;
  readonly main: { readonly session: AnySession; readonly kit: DialectKit };
}

interface OpenTransaction {
  /** Undefined of main's. */
  readonly target: Target | undefined;
  readonly value: KeyValue | undefined;
  readonly filtered: boolean;
  /** The session in the transaction, once it has begun. */
  readonly session: Promise<AnySession>;
  current: AnySession | undefined;
  /** Undefined of one with a closure, which ends with it. */
  controlled: ControlledTransaction<unknown> | undefined;
  closed: boolean;
}

const GLOBAL: Selection = { kind: "global" };

const OPTIONS: Readonly<Record<keyof ShardManagerOptions, true>> = { chooser: true, filtering: true };

export class ShardManager<DB = unknown, Key extends KeyValue = KeyValue> implements AsyncDisposable {
  readonly #parts: ShardManagerParts;
  readonly #chooser: ShardChooser | undefined;
  #selection: Selection = GLOBAL;
  #filtering = false;
  #open: OpenTransaction | undefined;
  /** The last of the calls that change the selection or begin a transaction. */
  #last: Promise<unknown> = Promise.resolve();

  /** `fed.shardManager()` makes one. */
  constructor(parts: ShardManagerParts, options: ShardManagerOptions = {}) {
    refuseUnknownOptions(options, OPTIONS, "shardManager");
    this.#parts = parts;
    this.#chooser = options.chooser === undefined ? undefined : resolveChooser(options.chooser);
    this.setFilteringEnabled(options.filtering ?? false);
  }

  /**
   * Selects the shard that the value leads to: by the directory the one on which the key lives. It is connected to now. A bigint key may come as digits. Refused while a
   * transaction is open, unless it is the same shard.
   */
  selectShard(value: Key | number | string): Promise<void> {
    return this.#inTurn(async () => {
      const selection = await select(this.#parts, value, this.#chooser);
      const open = this.#open;
      if (open !== undefined) {
        const { target } = await selection.route();
        const refusal = whyNoSwitch(open, { value: selection.value, target }, this.#parts.codec);
        if (refusal !== undefined) throw refusal;
      }
      this.#selection = selection;
    });
  }

  /** Selects main: the global tables. Refused while a transaction is open on a shard. */
  selectGlobal(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#open?.target !== undefined)
        throw switchRefused(`it is on ${this.#open.target.name}. Commit or roll back first`);
      this.#selection = GLOBAL;
    });
  }

  /** The value that was selected, as a key (`selectShard("1")` gives `1n`); undefined while main is. */
  getCurrentDistributionValue(): Key | undefined {
    return this.#selection.kind === "shard" ? (this.#selection.value as Key) : undefined;
  }

  /** Every shard, with its ranges; asked of main's directory now. Of a manager with a chooser of its own: the shards of the configuration. */
  async getShards(): Promise<ShardEntry<Key>[]> {
    const members = this.#chooser === undefined ? await listMembers<Key>(this.#parts) : [];
    const ranges = members.filter(({ kind }) => kind === "range");
    const entries: ShardEntry<Key>[] = ranges.map(({ shard, low, high }) => ({
      id: shard,
      rangeLow: low,
      rangeHigh: high,
      kind: "range",
    }));
    for (const id of this.#parts.routes.shards.keys())
      if (!ranges.some(({ shard }) => shard === id))
        entries.push({ id, rangeLow: null, rangeHigh: null, kind: "points" });
    return entries;
  }

  /**
   * Raw SQL on every shard, whatever is selected: the rows of all, in the order of the shards. The first shard that fails fails it. It reads, unless `write` is said. See
   * `QueryAllOptions.whileMoving` for tenants that move.
   */
  async queryAll(
    sql: string,
    parameters: readonly unknown[] = [],
    options: QueryAllOptions = {},
  ): Promise<Row[]> {
    if (this.#open !== undefined)
      throw switchRefused("queryAll goes to every shard. Commit or roll back first");
    const { routes, control } = this.#parts;
    return queryAll(
      { shards: routes.shards, control, federation: routes.federation },
      sql,
      parameters,
      options,
    );
  }

  /**
   * On: a shard's statements see and touch only the rows of the selected key, as with `fed.at(key)`, and raw SQL is refused. Off: the rows of all tenants on the shard. Main's
   * tables know no key. Refused in a transaction, and with a chooser of the manager's own.
   */
  setFilteringEnabled(enabled: boolean): void {
    if (enabled === this.#filtering) return;
    if (enabled && this.#chooser !== undefined)
      throw new TesseraeError(
        "CHOOSER_INVALID",
        "Filtering keeps to the key's rows on the shard where it lives, which is the directory's to say, and this manager has a chooser of its own. Leave the chooser out to filter.",
        { federation: this.#parts.routes.federation, operation: "setFilteringEnabled" },
      );
    if (this.#open !== undefined)
      throw switchRefused("filtering changes what its statements reach. Commit or roll back first");
    this.#filtering = enabled;
  }

  isFilteringEnabled(): boolean {
    return this.#filtering;
  }

  /** The Kysely instance of what is selected now: the transaction's while one is open, else `fed.main`, `fed.at(key)` with filtering, or without it `fed.at(key).unfiltered()`. */
  get db(): Kysely<DB> {
    return this.#open?.current ?? this.#session;
  }

  /** Raw SQL on what is selected: its rows. `?` are the parameters, on every engine. RAW_REFUSED while filtering is on. */
  async query(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    return (await this.#run(sql, parameters)).rows;
  }

  /** Raw SQL on what is selected: how many rows it changed. */
  async execute(sql: string, parameters: readonly unknown[] = []): Promise<bigint> {
    return (await this.#run(sql, parameters)).numAffectedRows ?? 0n;
  }

  isTransactionActive(): boolean {
    return this.#open !== undefined;
  }

  /** On the selected database, to `commit` or `rollback`; its connection is held until then. TRANSACTION_NESTED. */
  beginTransaction(): Promise<void> {
    return this.#inTurn(async () => {
      const { open, begun } = await this.#reserve();
      try {
        const transaction = await this.#session.startTransaction().execute();
        open.controlled = transaction;
        open.current = transaction;
        begun.resolve(transaction);
      } catch (error) {
        begun.reject(error);
        this.#open = undefined;
        throw error;
      }
    });
  }

  /** Whatever comes of it, the transaction is over. TRANSACTION_NONE. */
  async commit(): Promise<void> {
    const transaction = await this.#end("commit");
    try {
      await transaction.commit().execute();
    } catch (error) {
      await transaction
        .rollback()
        .execute()
        .catch(() => undefined);
      throw error;
    }
  }

  /** TRANSACTION_NONE. */
  async rollback(): Promise<void> {
    const transaction = await this.#end("rollback");
    await transaction.rollback().execute();
  }

  /**
   * A closure in a transaction on the selected database, committed when it ends and rolled back when it throws; `query` and `db` go to it meanwhile. Where the key moves while it runs it
   * is run again, as with `fed.at(key).transaction()`.
   */
  async transaction<T>(body: (db: Kysely<DB>) => Promise<T>): Promise<T> {
    const { open, begun } = await this.#inTurn(() => this.#reserve());
    try {
      return await this.#session.transaction().execute(async (tx) => {
        open.current = tx;
        begun.resolve(tx);
        const result = await body(tx as unknown as Kysely<DB>);
        if (open.closed)
          throw new TesseraeError(
            "TRANSACTION_NONE",
            "The manager was closed inside this transaction, which is rolled back.",
            { operation: "transaction" },
          );
        return result;
      });
    } catch (error) {
      begun.reject(error);
      throw error;
    } finally {
      if (this.#open === open) this.#open = undefined;
    }
  }

  /** Rolls back what is open and selects main, as a new manager does. A transaction with a closure is rolled back when the closure ends. The manager may be used again. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      const open = this.#open;
      this.#open = undefined;
      this.#selection = GLOBAL;
      if (open === undefined) return;
      open.closed = true;
      await open.controlled?.rollback().execute();
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #session(): AnySession {
    const selection = this.#selection;
    if (selection.kind === "global") return this.#parts.main.session;
    return this.#filtering ? (selection.filtered as AnySession) : selection.unfiltered;
  }

  /** The place of a transaction is taken before it begins, so that nothing else can be selected in between. */
  async #reserve() {
    if (this.#open !== undefined)
      throw new TesseraeError(
        "TRANSACTION_NESTED",
        "A transaction is open already. Commit or roll back first; for savepoints write fed.at(key).startTransaction().",
        this.#open.target?.place ?? { cluster: "main" },
      );
    const selection = this.#selection;
    const target = selection.kind === "shard" ? (await selection.route()).target : undefined;
    const begun = Promise.withResolvers<AnySession>();
    begun.promise.catch(() => undefined);
    const open: OpenTransaction = {
      target,
      value: this.getCurrentDistributionValue(),
      filtered: this.#filtering && target !== undefined,
      session: begun.promise,
      current: undefined,
      controlled: undefined,
      closed: false,
    };
    this.#open = open;
    return { open, begun };
  }

  #end(operation: "commit" | "rollback"): Promise<ControlledTransaction<unknown>> {
    return this.#inTurn(async () => {
      const transaction = this.#open?.controlled;
      if (transaction === undefined)
        throw new TesseraeError(
          "TRANSACTION_NONE",
          this.#open === undefined
            ? `${operation}() without an open transaction. Call beginTransaction() first.`
            : `${operation}() inside transaction(…), which ends with its closure: return to commit it, throw to roll it back.`,
          { operation },
        );
      this.#open = undefined;
      return transaction;
    });
  }

  async #run(sql: string, parameters: readonly unknown[]) {
    const open = this.#open;
    const selection = this.#selection;
    if (selection.kind === "shard" && (open?.filtered ?? this.#filtering))
      throw new TesseraeError(
        "RAW_REFUSED",
        "Filtering is on, and a whole raw statement cannot be bound to the key. Write it with Kysely on manager.db, which can; or switch filtering off (setFilteringEnabled(false)) and write the key's condition yourself.",
        { federation: this.#parts.routes.federation, sql, operation: "query" },
      );
    const session = open === undefined ? this.#session : await open.session;
    const target =
      open?.target ?? (selection.kind === "shard" ? (await selection.route()).target : undefined);
    const { dialect } = target?.kit ?? this.#parts.main.kit;
    return runRaw(session, rawStatement(sql, parameters, dialect.name));
  }

  /** One after the other; a failure is its caller's alone. */
  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(act, act);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
