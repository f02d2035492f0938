/**
 * What the steps of one move work with: its record in main, both ends, and what happens between two pieces of work (a sign of life, throttles, somebody
 * who wants it paused or aborted).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import type { ChangeFeed } from "../directory/change-feed.ts";
import type { DirectoryRows } from "../directory/directory-rows.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import type { ResidenceRows } from "../directory/residence-rows.ts";
import type { Connection, Database } from "../engine/contract.ts";
import type { ControlStore } from "../engine/control-store.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { KeyScope, RowTransfer, TransferEnd } from "../engine/row-transfer.ts";
import type { ShardReplicas } from "../replicas/shard-replicas.ts";
import type { FederationModel, TableModel } from "../schema/model.ts";
import { scopeOf } from "./member-condition.ts";
import type { MovePoint } from "./move-points.ts";
import type { Member, MoveProgress, MoveRecord } from "./move-record.ts";
import type { MoveRows, RecordChange } from "./move-rows.ts";
import type { MoveStep } from "./move-status.ts";
import { LargerToken, type MoverResidences } from "./mover-residences.ts";
import { Throttle } from "./throttle.ts";

/** One of the two shards of a move. */
export interface ShardEnd {
  readonly shard: number;
  readonly database: Database;
  readonly store: ControlStore;
  readonly residences: MoverResidences;
  /** The same table, for writes that need no move's token. */
  readonly pointResidences: ResidenceRows;
}

/** What all moves of a federation share. */
export interface MoveParts {
  readonly federation: FederationModel;
  readonly control: ControlStore;
  readonly directoryRows: DirectoryRows;
  readonly feed: ChangeFeed;
  readonly keys: KeyCodec;
  readonly moves: MoveRows;
  /** The federated tables, those that are referred to first. */
  readonly tables: readonly TableModel[];
  readonly replicas: ShardReplicas;
  end(shard: number): ShardEnd;
  transferBetween(source: ShardEnd, target: ShardEnd): RowTransfer;
  /** Whether the mover may write at a shard without foreign keys being checked. */
  uncheckedReferences(end: ShardEnd): Promise<boolean>;
  at(point: MovePoint): void | Promise<void>;
  /** So often a runner shows that it lives, and looks for what is wanted of it. */
  readonly touchMs: number;
  /** Rejects when this process does not know the tables of the shards as they are. MOVE_SCHEMA. */
  checkSchema(...shards: readonly number[]): Promise<void>;
  /** This process's own routes of a key, or of all where a range has changed. Others hear of it by the feed. */
  forgetRoutes(members: readonly Member[]): void;
}

/** Somebody wants the move paused or aborted, or the caller has left. */
export class MoveInterrupted extends Error {
  readonly why: "pause" | "abort" | "left";

  constructor(why: "pause" | "abort" | "left") {
    super(`the move is to be interrupted: ${why}`);
    this.why = why;
  }
}

/** `MoveParts.touchMs` unless a test says otherwise. */
export const TOUCH_MS = 500;

export class MoveWork {
  readonly parts: MoveParts;
  readonly source: ShardEnd;
  readonly target: ShardEnd;
  readonly transfer: RowTransfer;
  readonly throttle: Throttle;
  readonly #signal: AbortSignal | undefined;
  readonly #onChange: ((record: MoveRecord) => void) | undefined;
  record: MoveRecord;
  /** A cut-over was sent to main, and its answer has not come: whether the keys live at the target already is to be read there first. */
  outcomeUnknown = false;
  /** When this process had the record in its hands: main had it then. By this process's clock. */
  readonly takenUpMs = performance.now();
  #savedAt = performance.now();

  constructor(
    parts: MoveParts,
    record: MoveRecord,
    caller: { readonly signal?: AbortSignal | undefined; onChange?(record: MoveRecord): void } = {},
  ) {
    this.parts = parts;
    this.record = record;
    this.source = parts.end(record.source);
    this.target = parts.end(record.target);
    this.transfer = parts.transferBetween(this.source, this.target);
    this.throttle = new Throttle(record.progress.settings);
    this.#signal = caller.signal;
    this.#onChange = caller.onChange?.bind(caller);
  }

  get scope(): KeyScope {
    return scopeOf(this.parts.federation.name, this.record.members);
  }

  end(which: TransferEnd): ShardEnd {
    return which === "source" ? this.source : this.target;
  }

  at(point: MovePoint): void | Promise<void> {
    return this.parts.at(point);
  }

  /** Writes the next step to main, with what is known, and does what is wanted. MoveInterrupted, MOVE_TAKEN_OVER. */
  async advance(step: MoveStep): Promise<void> {
    await this.save({ step, progress: { ...this.record.progress, waitsFor: undefined } });
    await this.obey();
  }

  async save(change: RecordChange): Promise<void> {
    this.changed(await this.parts.moves.save(this.record, change));
  }

  /** The record was written, by `save` or in another transaction. */
  changed(record: MoveRecord): void {
    this.record = record;
    this.#savedAt = performance.now();
    this.#onChange?.(record);
  }

  /** Progress that may be lost: it is written a few times a second. What the next piece of work relies on must be `save`d. */
  note(progress: Partial<MoveProgress>): void {
    this.record = { ...this.record, progress: { ...this.record.progress, ...progress } };
  }

  /** Between two pieces of work: shows a sign of life, and does what is wanted. MoveInterrupted, MOVE_TAKEN_OVER. */
  async between(): Promise<void> {
    if (this.#signal?.aborted) throw new MoveInterrupted("left");
    if (performance.now() - this.#savedAt < this.parts.touchMs) return;
    await this.save({ progress: this.record.progress });
    await this.obey();
  }

  /** Looks what is wanted of the runner. */
  async obey(): Promise<void> {
    const wanted = await this.parts.moves.wanted(this.record);
    if (wanted !== "run") throw new MoveInterrupted(wanted);
  }

  /** Waits in pieces, and does between them what is wanted. `why` is shown. */
  async waitFor(why: string | undefined, ready: () => number): Promise<void> {
    for (let leftMs = ready(); leftMs > 0; leftMs = ready()) {
      if (why !== this.record.progress.waitsFor) this.note({ waitsFor: why });
      await sleep(Math.min(leftMs, TOUCH_MS), undefined, { signal: this.#signal }).catch(() => undefined);
      await this.between();
    }
    if (this.record.progress.waitsFor !== undefined) this.note({ waitsFor: undefined });
  }

  /**
   * A connection of one end for reads, given back whatever happens; driver's errors in the library's words. In a `snapshot` all that is read was
   * there at one moment.
   */
  async reading<T>(
    which: TransferEnd,
    work: (connection: Connection) => Promise<T>,
    { snapshot = false }: { readonly snapshot?: boolean } = {},
  ): Promise<T> {
    const { database, shard } = this.end(which);
    let connection: Connection | undefined;
    let broken = true;
    try {
      connection = await database.acquire({ mode: "read", signal: this.#signal });
      if (snapshot) await connection.begin({ isolation: "repeatable read", readOnly: true });
      const result = await work(connection);
      if (snapshot) await connection.commit();
      broken = false;
      return result;
    } catch (error) {
      if (this.#signal?.aborted) throw new MoveInterrupted("left");
      if (error instanceof MoveInterrupted || error instanceof LargerToken) throw error;
      throw toEngineError(error, database.engine.dialect, {
        cluster: "shards",
        shard,
        federation: this.parts.federation.name,
        operation: `moves.${this.record.step}`,
      });
    } finally {
      connection?.release(broken);
    }
  }

  table(name: string): TableModel {
    const table = this.parts.tables.find((each) => each.name === name);
    if (table !== undefined) return table;
    throw new TesseraeError(
      "MOVE_SCHEMA",
      `Table "${name}" is in the change log of shard ${this.record.source}, and not in this process's schema: the schema was changed while the move ran. Abort the move, apply the schema everywhere, and move again.`,
      { table: name, shard: this.record.source, federation: this.parts.federation.name },
    );
  }
}

/** The lock of a key's residence is asked for so long at a time: who waits for it holds up that key's writers. */
export const LOCK_WAIT_MS = 100;
const LOCK_PAUSE_MS_MAX = 400;
const IN_THE_WAY = ["LOCK_TIMEOUT", "DEADLOCK", "SERIALIZATION"] as const;

/**
 * Runs a short transaction that needs a key's residence alone, again and again until its writers have let go. Between two tries nothing is held, so an
 * application that idles in a transaction holds up the move and not itself.
 */
export async function patiently<T>(work: MoveWork, end: ShardEnd, attempt: () => Promise<T>): Promise<T> {
  const begun = performance.now();
  let waitsFor = "open transactions of the keys to end";
  for (let pauseMs = 10; ; pauseMs = Math.min(LOCK_PAUSE_MS_MAX, pauseMs * 2)) {
    try {
      return await attempt();
    } catch (error) {
      if (!IN_THE_WAY.some((code) => isTesseraeError(error, code))) throw error;
      const until = performance.now() + pauseMs * (0.5 + Math.random());
      if (performance.now() - begun > WHO_MS) waitsFor = await whoIsInTheWay(end);
      await work.waitFor(waitsFor, () => until - performance.now());
    }
  }
}

/** A wait as long as this is told with those who may be its reason. */
const WHO_MS = 1_000;

/** The longest open transactions of the shard: one of them holds the residence. Not every login may see them. */
async function whoIsInTheWay({ store, shard }: ShardEnd): Promise<string> {
  const wait = "open transactions of the keys to end";
  const { openTransactionsSql: sql } = store.dialect;
  if (sql === undefined) return wait;
  const seen = await store.run(sql, []).catch(() => undefined);
  if (seen === undefined || seen.rows.length === 0) return wait;
  const list = seen.rows.map((row) => `${String(row["who"])}, ${Number(row["seconds"])} s`).join("; ");
  return `${wait}; the longest open on shard ${shard}: ${list}`;
}
