/**
 * The moves of one federation in main: `tesserae_moves`, and the directory's rows of the keys that move.
 *
 * Whoever runs a move holds its token. Every write of the record asks for the token, and so does every write of the directory: a process that was
 * replaced finds another one there and stops. Tokens are drawn from one counter, so that they rise over all moves.
 */
import { TesseraeError } from "../base/errors.ts";
import { lockMeta } from "../directory/change-feed.ts";
import { directoryTableName, MOVE_TOKEN_META, MOVES_TABLE, movesTable } from "../directory/control-tables.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import {
  type ControlRunner,
  type ControlStore,
  type ControlTransaction,
  RowCodec,
} from "../engine/control-store.ts";
import { META_TABLE, metaTable } from "../engine/control-tables.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { FederationModel } from "../schema/model.ts";
import { memberCondition } from "./member-condition.ts";
import type { Member, MoveFailure, MoveProgress, MoveRecord, Wanted } from "./move-record.ts";
import type { MoveKind, MoveStep } from "./move-status.ts";

const COLUMNS =
  "id, federation, kind, source, target, step, token, wanted, runner, members, progress, error, created, updated, finished";

export interface NewMove {
  readonly kind: MoveKind;
  readonly source: number;
  readonly target: number;
  readonly step: MoveStep;
  readonly members: readonly Member[];
  readonly progress: MoveProgress;
  readonly runner: string;
}

/** What may change of a record while it is run. */
export interface RecordChange {
  readonly step?: MoveStep;
  readonly progress?: MoveProgress;
  readonly members?: readonly Member[];
  readonly error?: MoveFailure | undefined;
  readonly finished?: boolean;
}

/** The move was taken over: whoever gets this must not touch anything any more. */
export function takenOver(id: bigint): TesseraeError {
  return new TesseraeError(
    "MOVE_TAKEN_OVER",
    `Move ${id} was taken over by another process, which goes on with it. fed.moves.watch(${id}n) shows how far it is.`,
    { operation: "moves" },
  );
}

export class MoveRows {
  readonly #control: ControlStore;
  readonly #federation: string;
  readonly #keys: KeyCodec;
  readonly #codec: RowCodec;
  readonly #directory: string;
  readonly #encodeKey: (key: KeyValue) => unknown;

  constructor(control: ControlStore, federation: FederationModel, keys: KeyCodec) {
    this.#control = control;
    this.#federation = federation.name;
    this.#keys = keys;
    this.#codec = new RowCodec(control.dialect, movesTable());
    this.#directory = control.dialect.quote(directoryTableName(federation.name));
    const codec = control.dialect.codec(federation.key);
    this.#encodeKey = (key) => codec.encode(key);
  }

  /** The next token, above `atLeast`. The counter is locked to the end of the transaction. */
  async drawToken(transaction: ControlTransaction, atLeast: bigint): Promise<bigint> {
    const last = BigInt(await lockMeta(transaction, this.#control, MOVE_TOKEN_META, "0", "alone"));
    const meta = new RowCodec(this.#control.dialect, metaTable());
    const name = meta.encode("name", MOVE_TOKEN_META);
    const token = (last > atLeast ? last : atLeast) + 1n;
    await transaction.run(`update ${META_TABLE} set value = ? where name = ?`, [
      meta.encode("value", token.toString()),
      name,
    ]);
    return token;
  }

  /** Writes a new move. Its keys are the caller's to mark in the directory, in the same transaction. */
  async insert(transaction: ControlTransaction, token: bigint, move: NewMove): Promise<MoveRecord> {
    const now = new Date();
    const record: MoveRecord = {
      ...move,
      id: token,
      token,
      federation: this.#federation,
      wanted: "run",
      error: undefined,
      created: now,
      updated: now,
      finished: undefined,
    };
    await transaction.run(
      `insert into ${MOVES_TABLE} (${COLUMNS}) values (${COLUMNS.split(", ")
        .map(() => "?")
        .join(", ")})`,
      this.#encode(record),
    );
    return record;
  }

  async find(id: bigint, runner: ControlRunner = this.#control): Promise<MoveRecord | undefined> {
    return (await this.#select(runner, "where id = ? and federation = ?", [id, this.#federation]))[0];
  }

  /** Under way, in the order in which they began; with `all` also those that have ended, the newest first. */
  list(all: boolean, limit: number): Promise<MoveRecord[]> {
    const federation = [this.#federation];
    return all
      ? this.#select(this.#control, `where federation = ? order by id desc limit ${limit}`, federation)
      : this.#select(
          this.#control,
          `where finished is null and federation = ? order by id limit ${limit}`,
          federation,
        );
  }

  /** Writes what the caller knows, in a transaction of its own. MOVE_TAKEN_OVER when the token is no longer the caller's. */
  async save(record: MoveRecord, change: RecordChange): Promise<MoveRecord> {
    return this.#control.transaction((transaction) => this.saveIn(transaction, record, change));
  }

  async saveIn(
    transaction: ControlTransaction,
    record: MoveRecord,
    change: RecordChange,
  ): Promise<MoveRecord> {
    const { finished, ...rest } = change;
    const next: MoveRecord = {
      ...record,
      ...rest,
      updated: new Date(),
      ...(finished === true ? { finished: new Date(), runner: undefined } : {}),
    };
    const { affectedRows } = await transaction.run(
      `update ${MOVES_TABLE} set step = ?, progress = ?, members = ?, error = ?, updated = ?, finished = ?, runner = ? where id = ? and token = ? and step in (?, ?)`,
      [
        ...this.#encodeColumns(next, [
          "step",
          "progress",
          "members",
          "error",
          "updated",
          "finished",
          "runner",
        ]),
        this.#codec.encode("id", next.id),
        this.#codec.encode("token", next.token),
        // The step it comes from; or the one it goes to, when the same was written before and its answer lost.
        this.#codec.encode("step", record.step),
        this.#codec.encode("step", next.step),
      ],
    );
    if (affectedRows !== 1n) throw takenOver(record.id);
    return next;
  }

  /** What is wanted of the runner. MOVE_TAKEN_OVER. */
  async wanted(record: MoveRecord): Promise<Wanted> {
    const now = await this.find(record.id);
    if (now === undefined || now.token !== record.token) throw takenOver(record.id);
    return now.wanted;
  }

  /** A sign of life. MOVE_TAKEN_OVER. */
  async touch(record: MoveRecord): Promise<void> {
    const { affectedRows } = await this.#control.run(
      `update ${MOVES_TABLE} set updated = ? where id = ? and token = ?`,
      this.#encodeColumns({ ...record, updated: new Date() }, ["updated", "id", "token"]),
    );
    if (affectedRows !== 1n) throw takenOver(record.id);
  }

  async want(id: bigint, wanted: Wanted): Promise<void> {
    await this.#control.run(`update ${MOVES_TABLE} set wanted = ? where id = ? and finished is null`, [
      this.#codec.encode("wanted", wanted),
      this.#codec.encode("id", id),
    ]);
  }

  /** Lets go of a move: nobody runs it from now on. */
  async leave(
    record: MoveRecord,
    { step, error }: { readonly step: MoveStep; readonly error: MoveFailure | undefined },
  ): Promise<void> {
    await this.#control.run(
      `update ${MOVES_TABLE} set runner = null, step = ?, error = ?, updated = ? where id = ? and token = ? and step = ?`,
      [
        ...this.#encodeColumns({ ...record, step, error, updated: new Date() }, [
          "step",
          "error",
          "updated",
          "id",
          "token",
        ]),
        this.#codec.encode("step", record.step),
      ],
    );
  }

  /**
   * Takes a move over: a new token in main, under the lock of its row, before anything is read that decides. From here on nobody else can write for
   * it. Undefined when it has ended, or is no longer as `seen`.
   */
  take(
    id: bigint,
    runner: string,
    options: {
      readonly seen?: bigint | undefined;
      readonly atLeast?: bigint | undefined;
      /** Why it is taken up again, in words. */
      readonly waitsFor?: string | undefined;
    } = {},
  ): Promise<MoveRecord | undefined> {
    return this.#control.transaction(async (transaction) => {
      const { forUpdate } = this.#control.capabilities;
      const [record] = await this.#select(transaction, `where id = ? and federation = ?${forUpdate}`, [
        id,
        this.#federation,
      ]);
      if (record === undefined || record.finished !== undefined) return undefined;
      if (options.seen !== undefined && record.token !== options.seen) return undefined;
      const { atLeast = 0n } = options;
      const token = await this.drawToken(transaction, record.token > atLeast ? record.token : atLeast);
      const progress = {
        ...record.progress,
        attempts: record.progress.attempts + 1,
        waitsFor: options.waitsFor,
      };
      // What turned a move back stays said; what a runner before met does not.
      const error = record.step === "abort" ? record.error : undefined;
      const next = { ...record, token, runner, progress, error, updated: new Date() };
      await transaction.run(
        `update ${MOVES_TABLE} set token = ?, runner = ?, progress = ?, error = ?, updated = ? where id = ?`,
        this.#encodeColumns(next, ["token", "runner", "progress", "error", "updated", "id"]),
      );
      await transaction.run(
        `update ${this.#directory} set token = ? where shard in (?, ?) and state = 'moving' and token = ?`,
        [this.#codec.encode("token", token), ...this.#encodeColumns(record, ["source", "target", "token"])],
      );
      return next;
    });
  }

  /** Marks the directory's rows of the keys as moving, under a token. They must be locked, and be as the caller has checked. */
  async markMoving(
    transaction: ControlTransaction,
    members: readonly Member[],
    token: bigint,
  ): Promise<void> {
    const { sql, parameters } = memberCondition(members, this.#encodeKey);
    await transaction.run(
      `update ${this.#directory} set state = 'moving', token = ?, updated = ? where ${sql}`,
      [this.#codec.encode("token", token), this.#codec.encode("updated", new Date()), ...parameters],
    );
  }

  /** The cut-over in the directory: the keys live at the target from the commit on. False when they are not all the move's any more. */
  async setShard(transaction: ControlTransaction, record: MoveRecord): Promise<boolean> {
    const { sql, parameters } = memberCondition(record.members, this.#encodeKey);
    const { affectedRows } = await transaction.run(
      `update ${this.#directory} set shard = ?, epoch = epoch + 1, updated = ? where state = 'moving' and token = ? and shard = ? and ${sql}`,
      [
        ...this.#encodeColumns(record, ["target"]),
        this.#codec.encode("updated", new Date()),
        ...this.#encodeColumns(record, ["token", "source"]),
        ...parameters,
      ],
    );
    return affectedRows === BigInt(record.members.length);
  }

  /** Gives every directory row of the move back: nothing keeps it from being removed or moved again. */
  async release(transaction: ControlTransaction, record: MoveRecord): Promise<void> {
    await transaction.run(
      `update ${this.#directory} set state = 'active', updated = ? where shard in (?, ?) and state = 'moving' and token = ?`,
      [
        this.#codec.encode("updated", new Date()),
        ...this.#encodeColumns(record, ["source", "target", "token"]),
      ],
    );
  }

  async #select(runner: ControlRunner, rest: string, parameters: readonly unknown[]): Promise<MoveRecord[]> {
    const { rows } = await runner.run(
      `select ${COLUMNS} from ${MOVES_TABLE} ${rest}`,
      parameters.map((value) => this.#codec.encode(typeof value === "bigint" ? "id" : "federation", value)),
    );
    return rows.map((row) => this.#decode(this.#codec.decodeRow(row)));
  }

  #encode(record: MoveRecord): unknown[] {
    return this.#encodeColumns(record, COLUMNS.split(", "));
  }

  #encodeColumns(record: MoveRecord, columns: readonly string[]): unknown[] {
    return columns.map((column) => {
      const value = record[column as keyof MoveRecord];
      if (column === "members") return this.#codec.encode(column, this.#membersText(record.members));
      if (column === "progress" || column === "error")
        return this.#codec.encode(column, value === undefined ? null : JSON.stringify(value));
      return this.#codec.encode(column, value ?? null);
    });
  }

  #membersText(members: readonly Member[]): string {
    return JSON.stringify(
      members.map(({ kind, low, high, epoch }) => [
        kind,
        this.#keys.toText(low),
        high === null ? null : this.#keys.toText(high),
        epoch.toString(),
      ]),
    );
  }

  #decode(row: Record<string, unknown>): MoveRecord {
    return {
      ...(row as unknown as MoveRecord),
      runner: (row["runner"] ?? undefined) as string | undefined,
      finished: (row["finished"] ?? undefined) as Date | undefined,
      error: row["error"] === null ? undefined : (JSON.parse(row["error"] as string) as MoveFailure),
      progress: JSON.parse(row["progress"] as string) as MoveProgress,
      members: readMembers(row["members"] as string, this.#keys),
    };
  }
}

/** The members as the row of a move has them. */
export function readMembers(text: string, keys: KeyCodec): Member[] {
  const members = JSON.parse(text) as ["p" | "r", string, string | null, string][];
  return members.map(([kind, low, high, epoch]) => ({
    kind,
    low: keys.fromText(low),
    high: high === null ? null : keys.fromText(high),
    epoch: BigInt(epoch),
  }));
}
