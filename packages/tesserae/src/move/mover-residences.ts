/**
 * A shard's residences as a mover changes them: all keys of a move at once, each time under locks and only if token and state are what the
 * mover expects. A mover that was replaced while it slept finds a larger token and changes nothing.
 *
 * Range rows need one thing more. A point's row stays for good when its key has gone, and its token stops whoever comes late; a range's row is deleted, since
 * it would stand before later ranges with other ends. So the shard remembers the largest token under which a range was made or taken away
 * (`range_token_<federation>` in `tesserae_meta`), and a smaller one may not make another.
 */
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { lockMeta } from "../directory/change-feed.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import type { ResidenceRow } from "../directory/residence-rows.ts";
import { type ControlStore, type ControlTransaction, RowCodec } from "../engine/control-store.ts";
import { META_TABLE, metaTable, type ResidenceState, residenceTable } from "../engine/control-tables.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { FederationModel } from "../schema/model.ts";
import { memberCondition } from "./member-condition.ts";
import type { Member } from "./move-record.ts";

const COLUMNS = "kind, low, high, epoch, state, token";

/** A larger token than the mover's is on the shard: it must take the move up again, above this one, or was replaced. */
export class LargerToken extends Error {
  readonly token: bigint;

  constructor(token: bigint) {
    super(`a residence has the larger token ${token}`);
    this.token = token;
  }
}

export interface LockOptions {
  /** `alone`: to change states; waits for the keys' writers and holds up new ones. `shared`: to stay beside them. */
  readonly how: "alone" | "shared";
  /** False where no application's writer gets as far as the lock: at a target that is `arriving`. Default true. */
  readonly gate?: boolean | undefined;
  /** How long to wait for the locks: LOCK_TIMEOUT. */
  readonly lockWaitMs?: number | undefined;
}

export class MoverResidences {
  readonly shard: number;
  readonly #store: ControlStore;
  readonly #federation: FederationModel;
  readonly #keys: KeyCodec;
  readonly #codec: RowCodec;
  readonly #table: string;
  readonly #encodeKey: (key: KeyValue) => unknown;

  constructor(shard: number, store: ControlStore, federation: FederationModel, keys: KeyCodec) {
    this.shard = shard;
    this.#store = store;
    this.#federation = federation;
    this.#keys = keys;
    this.#codec = new RowCodec(store.dialect, residenceTable(federation));
    this.#table = store.dialect.quote(residenceTable(federation).name);
    const codec = store.dialect.codec(federation.key);
    this.#encodeKey = (key) => codec.encode(key);
  }

  /** The rows of the keys that have one, locked to the end of the transaction, in key order. */
  async lock(
    transaction: ControlTransaction,
    members: readonly Member[],
    { how, gate: hasGate = true, lockWaitMs }: LockOptions,
  ): Promise<ResidenceRow[]> {
    const { sql, parameters } = memberCondition(members, this.#encodeKey);
    if (how === "alone" && hasGate) {
      // Writers pass a gate before they ask for the row: shut first, lest they overtake for ever.
      const gate = this.#store.dialect.gateSql(this.#federation, members.length);
      if (gate !== undefined) await transaction.run(gate, parameters, lockWaitMs);
    }
    const { forUpdate, forShare } = this.#store.capabilities;
    const { rows } = await transaction.run(
      `select ${COLUMNS} from ${this.#table} where ${sql} order by low${how === "alone" ? forUpdate : forShare}`,
      parameters,
      lockWaitMs,
    );
    return rows.map((row) => this.#codec.decodeRow(row) as unknown as ResidenceRow);
  }

  /**
   * Locks the rows of all keys, which must have the mover's token and one of the states. LargerToken, or RESIDENCE_CONFLICT when they are
   * not what nobody but the mover could have changed.
   */
  async expect(
    transaction: ControlTransaction,
    members: readonly Member[],
    token: bigint,
    states: readonly ResidenceState[],
    options: LockOptions,
  ): Promise<ResidenceRow[]> {
    const rows = await this.lock(transaction, members, options);
    for (const row of rows) {
      if (row.token > token) throw new LargerToken(row.token);
      if (row.token < token || !states.includes(row.state)) throw this.#conflict(row, states);
    }
    if (rows.length !== members.length)
      throw new TesseraeError(
        "RESIDENCE_CONFLICT",
        `Shard ${this.shard} has ${rows.length} of the ${members.length} residences that a move works under: somebody deleted the others. Compare the shard with the directory before you go on.`,
        { shard: this.shard, federation: this.#federation.name },
      );
    return rows;
  }

  /** Puts the mover's token on the rows that are there. LargerToken. */
  async fence(
    transaction: ControlTransaction,
    members: readonly Member[],
    token: bigint,
    lockWaitMs: number,
  ): Promise<ResidenceRow[]> {
    const rows = await this.lock(transaction, members, { how: "alone", lockWaitMs });
    for (const row of rows) if (row.token > token) throw new LargerToken(row.token);
    await this.#update(transaction, members, "token = ?", [this.#codec.encode("token", token)]);
    return rows.map((row) => ({ ...row, token }));
  }

  /** Brings all keys, which the transaction has locked, to a state; `nextEpoch` raises their epoch. */
  async setState(
    transaction: ControlTransaction,
    members: readonly Member[],
    state: ResidenceState,
    nextEpoch = false,
  ): Promise<void> {
    await this.#update(transaction, members, `state = ?${nextEpoch ? ", epoch = epoch + 1" : ""}`, [
      this.#codec.encode("state", state),
    ]);
  }

  /** Writes one row as it is to be, over one that is there. The caller has locked it. */
  async put(transaction: ControlTransaction, row: ResidenceRow): Promise<void> {
    const { affectedRows } = await transaction.run(
      `update ${this.#table} set high = ?, epoch = ?, state = ?, token = ? where kind = ? and low = ?`,
      ["high", "epoch", "state", "token", "kind", "low"].map((column) =>
        this.#codec.encode(column, row[column as keyof ResidenceRow]),
      ),
    );
    if (affectedRows === 0n) await this.insert(transaction, [row]);
  }

  /** The same for many keys that are there: a statement for each epoch among them, not for each key. */
  async overwritePoints(
    transaction: ControlTransaction,
    members: readonly Member[],
    { state, token }: Pick<ResidenceRow, "state" | "token">,
  ): Promise<void> {
    for (const [epoch, ofEpoch] of Map.groupBy(members, (member) => member.epoch))
      await this.#update(transaction, ofEpoch, "high = null, epoch = ?, state = ?, token = ?", [
        this.#codec.encode("epoch", epoch),
        this.#codec.encode("state", state),
        this.#codec.encode("token", token),
      ]);
  }

  /**
   * Inserts rows of which none is there. SERIALIZATION when one was committed since the caller looked: by a runner that was killed with its commit on the way.
   */
  async insert(transaction: ControlTransaction, rows: readonly ResidenceRow[]): Promise<void> {
    if (rows.length === 0) return;
    const sql = `insert into ${this.#table} (${COLUMNS}) values ${rows.map(() => "(?, ?, ?, ?, ?, ?)").join(", ")}`;
    const values = rows.flatMap((row) =>
      COLUMNS.split(", ").map((column) => this.#codec.encode(column, row[column as keyof ResidenceRow])),
    );
    try {
      await transaction.run(sql, values);
    } catch (error) {
      if (!isTesseraeError(error, "CONSTRAINT_UNIQUE")) throw error;
      throw new TesseraeError(
        "SERIALIZATION",
        `Another process has just written a key's residence on shard ${this.shard}.`,
        { operation: "moves", shard: this.shard, cause: error },
      );
    }
  }

  async remove(
    transaction: ControlTransaction,
    members: readonly Pick<Member, "kind" | "low">[],
  ): Promise<void> {
    const { sql, parameters } = memberCondition(members, this.#encodeKey);
    await transaction.run(`delete from ${this.#table} where ${sql}`, parameters);
  }

  /** The keys of those given that have a row, outside any transaction. */
  async find(members: readonly Member[]): Promise<ResidenceRow[]> {
    const { sql, parameters } = memberCondition(members, this.#encodeKey);
    const { rows } = await this.#store.run(`select ${COLUMNS} from ${this.#table} where ${sql}`, parameters);
    return rows.map((row) => this.#codec.decodeRow(row) as unknown as ResidenceRow);
  }

  /** Range rows that share a key with the range. */
  async overlapping(
    runner: ControlTransaction | ControlStore,
    low: KeyValue,
    high: KeyValue | null,
  ): Promise<ResidenceRow[]> {
    const end = high === null ? "" : " and low < ?";
    const { rows } = await runner.run(
      `select ${COLUMNS} from ${this.#table} where kind = 'r' and (high is null or high > ?)${end} order by low`,
      [this.#encodeKey(low), ...(high === null ? [] : [this.#encodeKey(high)])],
    );
    return rows.map((row) => this.#codec.decodeRow(row) as unknown as ResidenceRow);
  }

  async hasRanges(transaction: ControlTransaction): Promise<boolean> {
    const { rows } = await transaction.run(`select kind from ${this.#table} where kind = 'r' limit 1`, []);
    return rows.length > 0;
  }

  /** Locks, by its exact row, the range around a key, and writes it, so that its writers see a point that comes into it (see ResidenceRows). */
  async lockRangeAround(
    transaction: ControlTransaction,
    key: KeyValue,
    lockWaitMs: number,
  ): Promise<ResidenceRow | undefined> {
    const { rows: found } = await transaction.run(
      `select low from ${this.#table} where kind = 'r' and low <= ? order by low desc limit 1`,
      [this.#encodeKey(key)],
    );
    if (found[0] === undefined) return undefined;
    const low = this.#codec.decode("low", found[0]["low"]) as KeyValue;
    const member: Member = { kind: "r", low, high: null, epoch: 0n };
    const [range] = await this.lock(transaction, [member], { how: "alone", lockWaitMs });
    if (range === undefined)
      throw new TesseraeError("SERIALIZATION", "A range of residences was replaced meanwhile.", {
        shard: this.shard,
      });
    await this.#update(transaction, [member], "token = token", []);
    return range.high === null || this.#keys.compare(key, range.high) < 0 ? range : undefined;
  }

  /** Before range rows are made or taken away: nobody with a smaller token may, from now on. LargerToken. */
  async fenceRanges(transaction: ControlTransaction, token: bigint): Promise<void> {
    const meta = new RowCodec(this.#store.dialect, metaTable());
    const name = `range_token_${this.#federation.name}`;
    const last = BigInt(await lockMeta(transaction, this.#store, name, "0", "alone"));
    if (last > token) throw new LargerToken(last);
    if (last < token)
      await transaction.run(`update ${META_TABLE} set value = ? where name = ?`, [
        meta.encode("value", token.toString()),
        meta.encode("name", name),
      ]);
  }

  async #update(
    transaction: ControlTransaction,
    members: readonly Member[],
    assignments: string,
    values: readonly unknown[],
  ): Promise<void> {
    const { sql, parameters } = memberCondition(members, this.#encodeKey);
    await transaction.run(`update ${this.#table} set ${assignments} where ${sql}`, [
      ...values,
      ...parameters,
    ]);
  }

  #conflict(row: ResidenceRow, states: readonly ResidenceState[]): TesseraeError {
    return new TesseraeError(
      "RESIDENCE_CONFLICT",
      `The residence of ${row.kind === "p" ? "key" : "the range from"} ${this.#keys.show(row.low)} on shard ${this.shard} is ${row.state} with token ${row.token}; the move expects ${states.join(" or ")} with its own. Main or the shard was restored from an older state: compare them before you go on.`,
      { shard: this.shard, federation: this.#federation.name, key: this.#keys.toText(row.low) },
    );
  }
}
