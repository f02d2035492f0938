/**
 * A shard's residences of one federation, as the state machines of admission and removal write them. Every write locks the row first and
 * goes on only if no larger token is there: a process that was replaced while it slept changes nothing.
 *
 * A point that is new on a shard where a range covers its key must be seen by whoever writes under the range: the range's row is locked
 * alone until the point is committed, so that it waits for the range's writers, and later ones find the point.
 */
import { TesseraeError } from "../base/errors.ts";
import { type ControlStore, type ControlTransaction, RowCodec } from "../engine/control-store.ts";
import { type ResidenceState, residenceTable } from "../engine/control-tables.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { FederationModel } from "../schema/model.ts";
import type { KeyCodec } from "./key-codec.ts";

export interface ResidenceRow {
  readonly kind: "p" | "r";
  readonly low: KeyValue;
  readonly high: KeyValue | null;
  readonly epoch: bigint;
  readonly state: ResidenceState;
  readonly token: bigint;
}

/** `settled`, or the larger token that is there. */
export type SettleResult = { readonly settled: true } | { readonly settled: false; readonly token: bigint };

const COLUMNS = "kind, low, high, epoch, state, token";

export class ResidenceRows {
  readonly #shard: number;
  readonly #store: ControlStore;
  readonly #keys: KeyCodec;
  readonly #codec: RowCodec;
  readonly #table: string;

  constructor(shard: number, store: ControlStore, federation: FederationModel, keys: KeyCodec) {
    const model = residenceTable(federation);
    this.#shard = shard;
    this.#store = store;
    this.#keys = keys;
    this.#codec = new RowCodec(store.dialect, model);
    this.#table = store.dialect.quote(model.name);
  }

  /** Brings a residence to a state. RESIDENCE_CONFLICT when the shard has it at a later epoch than main. */
  settle(row: ResidenceRow): Promise<SettleResult> {
    return this.#store.transaction(async (transaction) => {
      const current = await this.lock(transaction, row.kind, row.low);
      if (current === undefined) {
        await this.#insertNew(transaction, row);
        return { settled: true };
      }
      if (current.token > row.token) return { settled: false, token: current.token };
      if (current.epoch > row.epoch) throw this.#conflict(row, current);
      await transaction.run(
        `update ${this.#table} set high = ?, epoch = ?, state = ?, token = ? where kind = ? and low = ?`,
        [
          this.#codec.encode("high", row.high),
          this.#codec.encode("epoch", row.epoch),
          this.#codec.encode("state", row.state),
          this.#codec.encode("token", row.token),
          this.#codec.encode("kind", row.kind),
          this.#codec.encode("low", row.low),
        ],
      );
      return { settled: true };
    });
  }

  /** The row, locked alone to the end of the transaction. */
  async lock(
    transaction: ControlTransaction,
    kind: "p" | "r",
    low: KeyValue,
  ): Promise<ResidenceRow | undefined> {
    const sql = `select ${COLUMNS} from ${this.#table} where kind = ? and low = ?${this.#store.capabilities.forUpdate}`;
    const { rows } = await transaction.run(sql, [
      this.#codec.encode("kind", kind),
      this.#codec.encode("low", low),
    ]);
    return rows[0] === undefined ? undefined : (this.#codec.decodeRow(rows[0]) as unknown as ResidenceRow);
  }

  /** The row as it is, outside any transaction. */
  async find(kind: "p" | "r", low: KeyValue): Promise<ResidenceRow | undefined> {
    const { rows } = await this.#store.run(
      `select ${COLUMNS} from ${this.#table} where kind = ? and low = ?`,
      [this.#codec.encode("kind", kind), this.#codec.encode("low", low)],
    );
    return rows[0] === undefined ? undefined : (this.#codec.decodeRow(rows[0]) as unknown as ResidenceRow);
  }

  /** Writes `gone` points where there are none yet; those that are there stay as they are. */
  async insertMissing(rows: readonly ResidenceRow[]): Promise<void> {
    await this.#store.transaction(async (transaction) => {
      for (const row of rows) await this.#insert(transaction, row);
    });
  }

  async #insertNew(transaction: ControlTransaction, row: ResidenceRow): Promise<void> {
    if (row.kind === "p") await this.#lockRangeAround(transaction, row.low);
    if (await this.#insert(transaction, row)) return;
    // Somebody else was faster: the transaction runs again and finds the row.
    throw new TesseraeError(
      "SERIALIZATION",
      `The residence of key ${this.#keys.show(row.low)} appeared while it was written.`,
      { shard: this.#shard },
    );
  }

  async #insert(transaction: ControlTransaction, row: ResidenceRow): Promise<boolean> {
    const { verb, suffix } = this.#store.capabilities.insertIgnore;
    const sql = `insert ${verb} into ${this.#table} (${COLUMNS}) values (?, ?, ?, ?, ?, ?) ${suffix}`;
    const parameters = COLUMNS.split(", ").map((column) =>
      this.#codec.encode(column, row[column as keyof ResidenceRow]),
    );
    return (await transaction.run(sql, parameters)).affectedRows === 1n;
  }

  /** Finds the range without a lock, then locks that exact row: a locking scan would stop other tenants (InnoDB's gap locks). */
  async #lockRangeAround(transaction: ControlTransaction, key: KeyValue): Promise<void> {
    const sql = `select low from ${this.#table} where kind = 'r' and low <= ? order by low desc limit 1`;
    const { rows } = await transaction.run(sql, [this.#codec.encode("low", key)]);
    if (rows[0] === undefined) return;
    const low = this.#codec.decode("low", rows[0]["low"]) as KeyValue;
    const range = await this.lock(transaction, "r", low);
    if (range === undefined)
      throw new TesseraeError(
        "SERIALIZATION",
        "A range of residences was replaced while a point in it was written.",
        { shard: this.#shard },
      );
    // Written, not only locked: a writer under PostgreSQL's repeatable read does not see the new point in its snapshot, and is stopped by a newer
    // version of the range's row alone.
    await transaction.run(`update ${this.#table} set token = token where kind = 'r' and low = ?`, [
      this.#codec.encode("low", low),
    ]);
  }

  #conflict(row: ResidenceRow, current: ResidenceRow): TesseraeError {
    const what = `${row.kind === "p" ? "Key" : "The range from"} ${this.#keys.show(row.low)}`;
    return new TesseraeError(
      "RESIDENCE_CONFLICT",
      `${what} has epoch ${current.epoch} on shard ${this.#shard}, and main's directory says ${row.epoch}: main was restored from an older state, or the shard belongs to another installation. Compare them before you go on.`,
      { shard: this.#shard, key: this.#keys.toText(row.low) },
    );
  }
}
