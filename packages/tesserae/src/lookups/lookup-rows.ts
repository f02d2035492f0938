/**
 * The rows of one lookup in main, on the connections that are kept for control tables, so that they are never part of a caller's transaction. Every change
 * of an existing row is bound to the token that was read: whoever comes second changes nothing.
 */
import { randomBytes } from "node:crypto";
import { isTesseraeError } from "../base/errors.ts";
import { type ControlRunner, type ControlStore, RowCodec } from "../engine/control-store.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { Lookup, LookupState } from "./lookup-table.ts";

/** Values in one statement. */
export const LOOKUP_BATCH_MAX = 500;

/** How often a claim looks again when rows change between its statements. */
const CLAIM_ATTEMPTS_MAX = 20;

export type LookupValue = bigint | string | number | Uint8Array;

export interface LookupRow {
  readonly value: LookupValue;
  readonly key: KeyValue;
  readonly token: bigint;
}

export interface LookupPage {
  readonly after: LookupValue | undefined;
  readonly limit: number;
  /** Only reserved ones, claimed before then; otherwise all. */
  readonly reservedBefore: Date | undefined;
}

/** A number that no other claim has. */
export function newToken(): bigint {
  return randomBytes(8).readBigInt64BE() & (2n ** 62n - 1n);
}

export class LookupRows {
  readonly lookup: Lookup;
  readonly #control: ControlStore;
  readonly #codec: RowCodec;
  readonly #table: string;
  readonly #compare: (one: KeyValue, other: KeyValue) => number;

  constructor(
    control: ControlStore,
    lookup: Lookup,
    compareKeys: (one: KeyValue, other: KeyValue) => number,
  ) {
    this.lookup = lookup;
    this.#control = control;
    this.#codec = new RowCodec(control.dialect, lookup.model);
    this.#table = control.dialect.quote(lookup.model.name);
    this.#compare = compareKeys;
  }

  /** The one form of a value: as the database gives it back. */
  canonical(value: unknown): LookupValue {
    return this.#codec.decode("value", this.#codec.encode("value", value)) as LookupValue;
  }

  /**
   * Has each value belong to the key with this token, where it is free or the key's already; gives the rows of those that another key has. The values are
   * distinct and in an order of all claims.
   */
  async claim(values: readonly LookupValue[], key: KeyValue, token: bigint): Promise<LookupRow[]> {
    const foreign: LookupRow[] = [];
    // Values that differ may be the same to a column that folds case: then one statement must not hold both.
    const size =
      this.lookup.column.type.kind === "text" && this.lookup.column.type.caseInsensitive
        ? 1
        : LOOKUP_BATCH_MAX;
    for (let start = 0; start < values.length; start += size)
      foreign.push(...(await this.#claimBatch(values.slice(start, start + size), key, token)));
    return foreign;
  }

  async #claimBatch(values: readonly LookupValue[], key: KeyValue, token: bigint): Promise<LookupRow[]> {
    let wanted = values;
    for (let attempt = 1; attempt <= CLAIM_ATTEMPTS_MAX; attempt++) {
      if ((await this.#insertMissing(wanted, key, token)) === wanted.length) return [];
      const found = await this.read(wanted);
      const foreign = found.filter((row) => this.#compare(row.key, key) !== 0);
      // Those that were just inserted have the token already.
      const older = found.filter((row) => this.#compare(row.key, key) === 0 && row.token !== token);
      const renewed = older.length === 0 ? 0 : await this.#renew(older, key, token);
      if (found.length === wanted.length && renewed === older.length) return foreign;
      wanted = values;
    }
    throw new Error(
      `The rows of ${this.#table} changed ${CLAIM_ATTEMPTS_MAX} times while they were claimed.`,
    );
  }

  async #insertMissing(values: readonly LookupValue[], key: KeyValue, token: bigint): Promise<number> {
    const { verb, suffix } = this.#control.capabilities.insertIgnore;
    const places = values.map(() => "(?, ?, ?, ?, ?)").join(", ");
    const sql = `insert ${verb} into ${this.#table} (value, key_value, token, state, written) values ${places} ${suffix}`;
    const rest = [
      this.#codec.encode("key_value", key),
      this.#codec.encode("token", token),
      this.#codec.encode("state", "reserved"),
      this.#codec.encode("written", new Date()),
    ];
    const parameters = values.flatMap((value) => [this.#codec.encode("value", value), ...rest]);
    return this.#affected(sql, parameters);
  }

  #renew(rows: readonly LookupRow[], key: KeyValue, token: bigint): Promise<number> {
    const sql = `update ${this.#table} set token = ?, state = ?, written = ? where key_value = ? and value in (${places(rows)})`;
    return this.#affected(sql, [
      this.#codec.encode("token", token),
      this.#codec.encode("state", "reserved"),
      this.#codec.encode("written", new Date()),
      this.#codec.encode("key_value", key),
      ...rows.map(({ value }) => this.#codec.encode("value", value)),
    ]);
  }

  /** The rows of those values that have one. */
  async read(values: readonly LookupValue[]): Promise<LookupRow[]> {
    const sql = `select value, key_value, token from ${this.#table} where value in (${places(values)})`;
    return this.#rowsOf(
      sql,
      values.map((value) => this.#codec.encode("value", value)),
    );
  }

  /** Gives the value to another key, if nobody claimed it since it was read with `from`. */
  async take(value: LookupValue, from: bigint, key: KeyValue, token: bigint): Promise<boolean> {
    const sql = `update ${this.#table} set key_value = ?, token = ?, state = ?, written = ? where value = ? and token = ?`;
    const taken = await this.#affected(sql, [
      this.#codec.encode("key_value", key),
      this.#codec.encode("token", token),
      this.#codec.encode("state", "reserved"),
      this.#codec.encode("written", new Date()),
      this.#codec.encode("value", value),
      this.#codec.encode("token", from),
    ]);
    return taken === 1;
  }

  /** Forgets the value, if nobody claimed it since it was read with `from`. */
  async release(value: LookupValue, from: bigint): Promise<boolean> {
    const sql = `delete from ${this.#table} where value = ? and token = ?`;
    const parameters = [this.#codec.encode("value", value), this.#codec.encode("token", from)];
    return (await this.#affected(sql, parameters)) === 1;
  }

  /** Notes that rows with these values were seen. */
  async confirm(rows: readonly LookupRow[]): Promise<void> {
    if (rows.length === 0) return;
    const tokens = [...new Set(rows.map(({ token }) => token))];
    const sql = `update ${this.#table} set state = ? where value in (${places(rows)}) and token in (${places(tokens)})`;
    await this.#affected(sql, [
      this.#codec.encode("state", "confirmed"),
      ...rows.map(({ value }) => this.#codec.encode("value", value)),
      ...tokens.map((token) => this.#codec.encode("token", token)),
    ]);
  }

  async page({ after, limit, reservedBefore }: LookupPage): Promise<LookupRow[]> {
    const conditions: string[] = [];
    const parameters: unknown[] = [];
    if (reservedBefore !== undefined) {
      conditions.push("state = ?", "written < ?");
      parameters.push(this.#codec.encode("state", "reserved"), this.#codec.encode("written", reservedBefore));
    }
    if (after !== undefined) {
      conditions.push("value > ?");
      parameters.push(this.#codec.encode("value", after));
    }
    const where = conditions.length === 0 ? "" : ` where ${conditions.join(" and ")}`;
    const sql = `select value, key_value, token from ${this.#table}${where} order by value limit ${limit}`;
    return this.#rowsOf(sql, parameters);
  }

  async count(): Promise<Record<LookupState, number>> {
    const { rows } = await this.#control.read(
      `select state, count(*) as n from ${this.#table} group by state`,
      [],
    );
    const counts = { reserved: 0, confirmed: 0 };
    for (const row of rows)
      counts[this.#codec.decode("state", row["state"]) as LookupState] = Number(row["n"]);
    return counts;
  }

  async #rowsOf(sql: string, parameters: readonly unknown[]): Promise<LookupRow[]> {
    const { rows } = await this.#control.run(sql, parameters);
    return rows.map((row) => ({
      value: this.#codec.decode("value", row["value"]) as LookupValue,
      key: this.#codec.decode("key_value", row["key_value"]) as KeyValue,
      token: this.#codec.decode("token", row["token"]) as bigint,
    }));
  }

  /** Statements that bear being run again: after a deadlock in a transaction, which is tried until it passes. */
  async #affected(sql: string, parameters: readonly unknown[]): Promise<number> {
    const run = async (runner: ControlRunner) =>
      Number((await runner.run(sql, parameters)).affectedRows ?? 0n);
    try {
      return await run(this.#control);
    } catch (error) {
      if (!isTesseraeError(error) || !error.retryable) throw error;
      return this.#control.transaction(run);
    }
  }
}

function places(list: readonly unknown[]): string {
  return list.map(() => "?").join(", ");
}

/** Claims of the same key together. */
export function groupByKey(rows: readonly LookupRow[]): LookupRow[][] {
  const groups = new Map<string, LookupRow[]>();
  for (const row of rows) {
    const name = row.key instanceof Uint8Array ? Buffer.from(row.key).toString("hex") : String(row.key);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [row]);
    else group.push(row);
  }
  return [...groups.values()];
}
