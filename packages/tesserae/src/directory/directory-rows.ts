/** The directory's rows of one federation: what is read and written of `tesserae_directory_<federation>`, in logical values. */
import { type ControlRunner, type ControlStore, RowCodec } from "../engine/control-store.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { FederationModel } from "../schema/model.ts";
import { directoryTable, MOVES_TABLE, movesTable } from "./control-tables.ts";

/**
 * admitting → active → removing → purging → removed → admitting … `removing` may still turn back to `active`; from `purging` on rows are
 * gone, and it goes only forward. `removed` is a tombstone that keeps the epoch. `moving` is served like `active`, and its token is that of a move:
 * nobody else may change the row until the move has ended.
 */
export type DirectoryState = "admitting" | "active" | "moving" | "removing" | "purging" | "removed";

/** Statements find a key's shard in these states. */
export const isServed = (row: { readonly state: DirectoryState }): boolean =>
  row.state === "active" || row.state === "moving";

export interface DirectoryRow {
  readonly kind: "p" | "r";
  readonly low: KeyValue;
  readonly high: KeyValue | null;
  readonly shard: number;
  readonly epoch: bigint;
  readonly state: DirectoryState;
  readonly token: bigint;
  readonly updated: Date;
}

const COLUMNS = "kind, low, high, shard, epoch, state, token, updated";

export interface PageOptions {
  readonly kind: "p" | "r";
  /** Rows whose `low` is above it. */
  readonly after: KeyValue | undefined;
  readonly limit: number;
}

export class DirectoryRows {
  readonly #control: ControlStore;
  readonly #codec: RowCodec;
  readonly #table: string;
  readonly #lookupSql: string;

  constructor(control: ControlStore, federation: FederationModel) {
    const model = directoryTable(federation);
    this.#control = control;
    this.#codec = new RowCodec(control.dialect, model);
    this.#table = control.dialect.quote(model.name);
    // One round trip: the point by its primary key, and the one range that can hold the key, the last that begins at or below it.
    this.#lookupSql =
      `select * from (select ${COLUMNS} from ${this.#table} where kind = 'p' and low = ?) as point ` +
      `union all select * from (select ${COLUMNS} from ${this.#table} where kind = 'r' and low <= ? order by low desc limit 1) as covering`;
  }

  /** The row that decides about a key: its point, or else the range around it. */
  async lookup(
    key: KeyValue,
    compare: (a: KeyValue, b: KeyValue) => number,
  ): Promise<DirectoryRow | undefined> {
    const low = this.#codec.encode("low", key);
    const rows = this.#decode((await this.#control.read(this.#lookupSql, [low, low])).rows);
    return (
      rows.find((row) => row.kind === "p") ??
      rows.find((row) => row.high === null || compare(key, row.high) < 0)
    );
  }

  /** The row that begins at `low`, locked to the end of the transaction. */
  async lock(runner: ControlRunner, kind: "p" | "r", low: KeyValue): Promise<DirectoryRow | undefined> {
    const sql = `select ${COLUMNS} from ${this.#table} where kind = ? and low = ?${this.#control.capabilities.forUpdate}`;
    return this.#decode(
      (await runner.run(sql, [this.#codec.encode("kind", kind), this.#codec.encode("low", low)])).rows,
    )[0];
  }

  async find(runner: ControlRunner, kind: "p" | "r", low: KeyValue): Promise<DirectoryRow | undefined> {
    const sql = `select ${COLUMNS} from ${this.#table} where kind = ? and low = ?`;
    return this.#decode(
      (await runner.run(sql, [this.#codec.encode("kind", kind), this.#codec.encode("low", low)])).rows,
    )[0];
  }

  /** The last range that begins at or below the key; whether it reaches the key is the caller's to see. */
  async rangeAtOrBelow(runner: ControlRunner, key: KeyValue): Promise<DirectoryRow | undefined> {
    const sql = `select ${COLUMNS} from ${this.#table} where kind = 'r' and low <= ? order by low desc limit 1`;
    return this.#decode((await runner.run(sql, [this.#codec.encode("low", key)])).rows)[0];
  }

  /** The range whose end is `high`, locked to the end of the transaction. */
  async rangeEndingAt(runner: ControlRunner, high: KeyValue): Promise<DirectoryRow | undefined> {
    const sql = `select ${COLUMNS} from ${this.#table} where kind = 'r' and high = ?${this.#control.capabilities.forUpdate}`;
    return this.#decode((await runner.run(sql, [this.#codec.encode("high", high)])).rows)[0];
  }

  /** The first row of a kind from `low` on that begins below `high` (null: without end). */
  async firstWithin(
    runner: ControlRunner,
    kind: "p" | "r",
    low: KeyValue,
    high: KeyValue | null,
    except: DirectoryState,
  ): Promise<DirectoryRow | undefined> {
    const end = high === null ? "" : " and low < ?";
    const sql = `select ${COLUMNS} from ${this.#table} where kind = ? and low >= ?${end} and state <> ? order by low limit 1`;
    const parameters = [this.#codec.encode("kind", kind), this.#codec.encode("low", low)];
    if (high !== null) parameters.push(this.#codec.encode("low", high));
    parameters.push(this.#codec.encode("state", except));
    return this.#decode((await runner.run(sql, parameters)).rows)[0];
  }

  /** Inserts; false when a row of that kind and `low` exists. */
  async insert(runner: ControlRunner, row: Omit<DirectoryRow, "updated">): Promise<boolean> {
    const { verb, suffix } = this.#control.capabilities.insertIgnore;
    const sql = `insert ${verb} into ${this.#table} (${COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?) ${suffix}`;
    const complete: DirectoryRow = { ...row, updated: new Date() };
    const parameters = COLUMNS.split(", ").map((column) =>
      this.#codec.encode(column, complete[column as keyof DirectoryRow]),
    );
    return (await runner.run(sql, parameters)).affectedRows === 1n;
  }

  /** Writes state, shard, epoch and token of a row, if its token still is `expected`. False: somebody else has taken over. */
  async update(runner: ControlRunner, row: DirectoryRow, expected: bigint): Promise<boolean> {
    const sql = `update ${this.#table} set shard = ?, epoch = ?, state = ?, token = ?, updated = ? where kind = ? and low = ? and token = ?`;
    const parameters = [
      this.#codec.encode("shard", row.shard),
      this.#codec.encode("epoch", row.epoch),
      this.#codec.encode("state", row.state),
      this.#codec.encode("token", row.token),
      this.#codec.encode("updated", new Date()),
      this.#codec.encode("kind", row.kind),
      this.#codec.encode("low", row.low),
      this.#codec.encode("token", expected),
    ];
    return (await runner.run(sql, parameters)).affectedRows === 1n;
  }

  /** A page of rows in key order, whatever their state but `removed`. */
  async page(options: PageOptions): Promise<DirectoryRow[]> {
    const after = options.after === undefined ? "" : " and low > ?";
    const sql = `select ${COLUMNS} from ${this.#table} where kind = ?${after} and state <> 'removed' order by low limit ${options.limit}`;
    return this.#decode((await this.#control.read(sql, this.#pageParameters(options))).rows);
  }

  /** A page of a shard's rows in one state, in key order: by the index alone. */
  async pageOfShard(
    options: PageOptions & { readonly shard: number; readonly state: DirectoryState },
  ): Promise<DirectoryRow[]> {
    const after = options.after === undefined ? "" : " and low > ?";
    const sql = `select ${COLUMNS} from ${this.#table} where shard = ? and state = ? and kind = ?${after} order by low limit ${options.limit}`;
    const parameters = [
      this.#codec.encode("shard", options.shard),
      this.#codec.encode("state", options.state),
      ...this.#pageParameters(options),
    ];
    return this.#decode((await this.#control.read(sql, parameters)).rows);
  }

  /** A page of tombstones in a range, in key order. */
  async tombstones(
    low: KeyValue,
    high: KeyValue | null,
    after: KeyValue | undefined,
    limit: number,
  ): Promise<DirectoryRow[]> {
    return this.#pointsWithin(low, high, after, limit, " and state = 'removed'");
  }

  /** A page of the points in a range, whatever their state, in key order. */
  pointsWithin(
    low: KeyValue,
    high: KeyValue | null,
    after: KeyValue | undefined,
    limit: number,
  ): Promise<DirectoryRow[]> {
    return this.#pointsWithin(low, high, after, limit, "");
  }

  async #pointsWithin(
    low: KeyValue,
    high: KeyValue | null,
    after: KeyValue | undefined,
    limit: number,
    condition: string,
  ): Promise<DirectoryRow[]> {
    const end = high === null ? "" : " and low < ?";
    const from = after === undefined ? "low >= ?" : "low > ?";
    const sql = `select ${COLUMNS} from ${this.#table} where kind = 'p' and ${from}${end}${condition} order by low limit ${limit}`;
    const parameters = [this.#codec.encode("low", after ?? low)];
    if (high !== null) parameters.push(this.#codec.encode("low", high));
    return this.#decode((await this.#control.read(sql, parameters)).rows);
  }

  /** The points of these keys that there are; with a transaction locked to its end, in key order. */
  async points(keys: readonly KeyValue[], transaction?: ControlRunner): Promise<DirectoryRow[]> {
    const lock = transaction === undefined ? "" : this.#control.capabilities.forUpdate;
    const sql = `select ${COLUMNS} from ${this.#table} where kind = 'p' and low in (${keys.map(() => "?").join(", ")}) order by low${lock}`;
    const parameters = keys.map((key) => this.#codec.encode("low", key));
    return this.#decode((await (transaction ?? this.#control).run(sql, parameters)).rows);
  }

  /** Another end and epoch for a range. */
  async reshape(
    runner: ControlRunner,
    low: KeyValue,
    { high, epoch }: { readonly high: KeyValue | null; readonly epoch: bigint },
  ): Promise<void> {
    await runner.run(
      `update ${this.#table} set high = ?, epoch = ?, updated = ? where kind = 'r' and low = ?`,
      [
        this.#codec.encode("high", high),
        this.#codec.encode("epoch", epoch),
        this.#codec.encode("updated", new Date()),
        this.#codec.encode("low", low),
      ],
    );
  }

  /** A range that has become part of another. */
  async removeRange(runner: ControlRunner, low: KeyValue): Promise<void> {
    await runner.run(`delete from ${this.#table} where kind = 'r' and low = ?`, [
      this.#codec.encode("low", low),
    ]);
  }

  /** Points of a shard in one of the states. */
  async count(shard: number, states: readonly DirectoryState[]): Promise<number> {
    const sql = `select count(*) as n from ${this.#table} where shard = ? and state in (${states.map(() => "?").join(", ")}) and kind = 'p'`;
    const { rows } = await this.#control.read(sql, [
      this.#codec.encode("shard", shard),
      ...states.map((state) => this.#codec.encode("state", state)),
    ]);
    return Number(rows[0]?.["n"]);
  }

  /** The move that has a row in state `moving`: its id, for messages. */
  async moveOf({ token }: Pick<DirectoryRow, "token">): Promise<bigint | undefined> {
    const moves = new RowCodec(this.#control.dialect, movesTable());
    const { rows } = await this.#control.read(
      `select id from ${MOVES_TABLE} where finished is null and token = ?`,
      [moves.encode("token", token)],
    );
    return rows[0] === undefined ? undefined : (moves.decode("id", rows[0]["id"]) as bigint);
  }

  /** Rows of a shard under way in `state` that nobody has touched since `before`. */
  async stale(shard: number, state: DirectoryState, before: Date, limit: number): Promise<DirectoryRow[]> {
    const sql = `select ${COLUMNS} from ${this.#table} where shard = ? and state = ? and updated < ? limit ${limit}`;
    const parameters = [
      this.#codec.encode("shard", shard),
      this.#codec.encode("state", state),
      this.#codec.encode("updated", before),
    ];
    return this.#decode((await this.#control.read(sql, parameters)).rows);
  }

  #pageParameters(options: PageOptions): unknown[] {
    const kind = this.#codec.encode("kind", options.kind);
    return options.after === undefined ? [kind] : [kind, this.#codec.encode("low", options.after)];
  }

  #decode(rows: readonly Record<string, unknown>[]): DirectoryRow[] {
    return rows.map((row) => this.#codec.decodeRow(row) as unknown as DirectoryRow);
  }
}
