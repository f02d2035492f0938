/**
 * `fed.moves`, and the calls made of moves: keys and ranges go from shard to shard, live. What a move is made of is in `run-move.ts`; here is what may be asked
 * for, and who runs it: the process that asked, until it is done, or whoever takes it up with `resume`.
 */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { readClosedShards, setShardClosed } from "../directory/closed-shards.ts";
import { type DirectoryRow, isServed } from "../directory/directory-rows.ts";
import { checkRange } from "../directory/key-range.ts";
import { ResidenceRows } from "../directory/residence-rows.ts";
import type { Database } from "../engine/contract.ts";
import { ControlStore } from "../engine/control-store.ts";
import { RowTransfer } from "../engine/row-transfer.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import { batchesOf } from "./batches.ts";
import { type Beginning, beginIsolation, beginMerge, beginPoints, beginRange } from "./begin-move.ts";
import { drainShard } from "./drain.ts";
import type { MoveInternals } from "./move-internals.ts";
import { checkMoveOptions } from "./move-options.ts";
import {
  canTurnBack,
  type MoveRecord,
  type MoveSettings,
  RUNNER_SILENT_MS,
  statusOf,
} from "./move-record.ts";
import { MoveRows } from "./move-rows.ts";
import type { KeyRange, MoveOptions, MoveStatus, MoveTarget } from "./move-status.ts";
import { type MoveParts, type ShardEnd, TOUCH_MS } from "./move-work.ts";
import { MoverResidences } from "./mover-residences.ts";
import { preflight } from "./preflight.ts";
import { type DriveOptions, driveMove } from "./run-move.ts";

const PAUSE_BUDGET_MS_DEFAULT = 1_000;
const PARALLEL_DEFAULT = 2;
const BATCH_KEYS_DEFAULT = 200;
const BATCH_ROWS_DEFAULT = 20_000;
/** A server that is down is waited for so long, unless there is progress. */
const RETRY_MS = 600_000;
/** Moves that have arrived and wait for their grace, or purge, beside those that are under way. */
const PURGES_MAX = 50;
/** More than a heartbeat. */
const SILENCE_SEEN_MS = 2_500;
const POLL_MS = 100;
const LIST_MAX = 1_000;
const POINTS_PAGE = 500;

export interface MovesOptions
  extends Pick<MoveParts, "federation" | "control" | "directoryRows" | "feed" | "keys" | "tables"> {
  readonly shards: readonly number[];
  shardDatabase(shard: number): Database;
  /** Passed before the first statement on a shard. */
  shardGate(shard: number): Promise<void>;
  /** Rejects when shards lack what the schema says, or have tables that this process does not know, or the schema is being changed. MOVE_SCHEMA. */
  checkSchema(...shards: readonly number[]): Promise<void>;
  /** Finishes admissions and removals that somebody left. */
  resumeTenants(): Promise<unknown>;
  /** Refuses a call where it cannot work. */
  beforeChange(operation: string): void;
  /** Called when the cut-over of keys, or of a range, is committed. */
  forgetRoutes(members: readonly { readonly kind: "p" | "r"; readonly low: KeyValue }[]): void;
  /** A process may use a route for so long after it has changed. */
  readonly leaseMs: number;
  readonly internals?: MoveInternals | undefined;
}

export interface ListMovesOptions {
  /** Also those that have ended, the newest first. */
  readonly all?: boolean;
  /** Default and most 1 000. */
  readonly limit?: number;
}

export interface ResumeMovesOptions extends Pick<MoveOptions, "onProgress" | "signal" | "parallel"> {
  /** Takes up what its runner has not touched for so long, in milliseconds; what nobody runs is taken up at once. Default 10 000. */
  readonly olderThanMs?: number;
}

type KeysOrRange<Key extends KeyValue> = Key | readonly Key[] | KeyRange<Key>;

let runners = 0;
const LIFE = randomBytes(4).toString("hex");

export class Moves<Key extends KeyValue = KeyValue> {
  readonly #options: MovesOptions;
  readonly #parts: MoveParts;
  readonly #rows: MoveRows;
  readonly #ends = new Map<number, ShardEnd>();
  readonly #mayUncheck = new Map<number, Promise<boolean>>();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor(options: MovesOptions) {
    this.#options = options;
    this.#rows = new MoveRows(options.control, options.federation, options.keys);
    const { federation, control, directoryRows, feed, keys, tables } = options;
    this.#parts = {
      federation,
      control,
      directoryRows,
      feed,
      keys,
      tables,
      moves: this.#rows,
      end: (shard) => this.#end(shard),
      transferBetween: (source, target) =>
        new RowTransfer(source.database.engine.dialect, target.database.engine.dialect),
      uncheckedReferences: (end) => this.#uncheckedReferences(end),
      checkSchema: (...shards) => options.checkSchema(...shards),
      forgetRoutes: (members) => options.forgetRoutes(members),
      at: options.internals?.at ?? (() => {}),
      touchMs: options.internals?.touchMs ?? TOUCH_MS,
    };
  }

  /**
   * Moves keys to another shard, live: a key, a list of keys, or a range. The call ends when all is done, or rejects with what stopped it; a move that cannot go on turns
   * back by itself, and one that lost its process is finished by `resume`. Small keys of a list share moves. KEY_UNKNOWN, SHARD_UNKNOWN, MOVE_SAME_SHARD,
   * MOVE_UNDER_WAY, MOVE_RIGHTS, MOVE_SCHEMA, MOVE_TARGET_NOT_EMPTY before anything was written; MOVE_VERIFY, MOVE_PAUSED, MOVE_ABORTED, MOVE_TAKEN_OVER.
   *
   * @example
   * ```ts
   * const status = await fed.moves.move(12n, { to: 2 });
   * console.log(status.rowsCopied, status.pauseMs);
   * ```
   */
  async move(what: Key, options: MoveTarget): Promise<MoveStatus>;
  async move(what: readonly Key[] | KeyRange<Key>, options: MoveTarget): Promise<MoveStatus[]>;
  async move(what: KeysOrRange<Key>, options: MoveTarget): Promise<MoveStatus | MoveStatus[]> {
    this.#check("moves.move", options);
    if (Array.isArray(what)) return this.#moveKeys(what as readonly KeyValue[], options);
    if (isRange(what)) return this.#moveRange(what as KeyRange, options);
    const [status] = await this.#moveKeys([what as KeyValue], options);
    return status as MoveStatus;
  }

  /** Cuts the range around `at` in two, of which the upper one begins with `at`; with `to` the upper one moves there. RANGE_UNKNOWN. */
  async split(
    split: { readonly at: Key; readonly to?: number },
    options: MoveOptions = {},
  ): Promise<MoveStatus> {
    this.#check("split", options, split.to);
    const at = this.#parts.keys.check(split.at);
    const range = await this.#rangeOf(at);
    if (this.#parts.keys.compare(range.low, at) === 0)
      throw new TesseraeError(
        "RANGE_UNKNOWN",
        `A range begins at ${this.#parts.keys.show(at)} already: there is nothing to split. Use moves.move to move it.`,
        this.#place("split", at),
      );
    const target = split.to ?? range.shard;
    await this.#preflight([{ ...range, low: at }], range.shard, target);
    return this.#run(
      await beginRange(this.#parts, at, range.high, this.#beginning("split", split.to, options)),
      options,
    );
  }

  /** Makes one range of the two that meet at `at`, on the lower one's shard or, with `to`, on the upper one's. RANGE_UNKNOWN. */
  async merge(
    merge: { readonly at: Key; readonly to?: number },
    options: MoveOptions = {},
  ): Promise<MoveStatus> {
    this.#check("merge", options, merge.to);
    const at = this.#parts.keys.check(merge.at);
    const { source, target } = await this.#checkMerge(at, merge.to);
    const beginning = this.#beginning("merge", target, options);
    return this.#run(await beginMerge(this.#parts, at, source, beginning), options);
  }

  /** Gives a key that the range around it serves a place of its own, on the same shard. A key that has one stays as it is. */
  async isolate(key: Key, options: MoveOptions = {}): Promise<MoveStatus | undefined> {
    this.#check("isolate", options);
    const checked = this.#parts.keys.check(key);
    const row = await this.#lookup(checked);
    if (row.kind === "p") return undefined;
    return this.#run(
      await beginIsolation(this.#parts, checked, this.#beginning("isolate", undefined, options)),
      options,
    );
  }

  /**
   * Moves everything off a shard: to `to`, or spread over the others, each time to the one with the fewest keys. The shard takes no new keys from then on, unless one is
   * added to it by name, or `reopen` is called.
   */
  async drain(shard: number, options: MoveOptions & { readonly to?: number } = {}): Promise<MoveStatus[]> {
    this.#check("drain", options, options.to);
    this.#checkShard(shard);
    if (options.to === shard)
      throw new TesseraeError(
        "MOVE_SAME_SHARD",
        `Shard ${shard} cannot be drained to itself. Name another one, or none.`,
        { ...this.#place("drain"), shard },
      );
    const closed = await this.closedShards();
    const others = this.#options.shards.filter((other) => other !== shard && !closed.includes(other));
    if (options.to === undefined && others.length === 0)
      throw new TesseraeError(
        "SHARD_UNKNOWN",
        `There is no other shard to move the keys of shard ${shard} to. Add one to the configuration first.`,
        { ...this.#place("drain"), shard },
      );
    await setShardClosed(this.#parts.control, this.#parts.federation.name, shard, true);
    const arrived = { ...options, waitFor: "arrived" } as const;
    const statuses = await drainShard(
      {
        directoryRows: this.#parts.directoryRows,
        federation: this.#parts.federation.name,
        others,
        ranges: () => this.#ranges(),
        moveKeys: (keys, to) => this.#moveKeys(keys, { ...arrived, to }),
        moveRange: (range, to) => this.#moveRange(range, { ...arrived, to }),
        resumeLeft: async () => {
          await this.#options.resumeTenants();
          await this.resume();
        },
        unfinished: () => this.list(),
        checkEnded: () => {
          for (const signal of [options.signal, this.#closing.signal]) signal?.throwIfAborted();
        },
      },
      shard,
      options.to,
    );
    if (options.waitFor === "arrived") return statuses;
    return Promise.all(
      statuses.map(({ id }) => this.#settled(id, ({ state }) => state === "done" || state === "aborted")),
    );
  }

  /** Lets a shard that was drained take new keys again. */
  async reopen(shard: number): Promise<void> {
    this.#options.beforeChange("reopen");
    this.#checkShard(shard);
    await setShardClosed(this.#parts.control, this.#parts.federation.name, shard, false);
  }

  /** Shards that take no new keys since they were drained. */
  closedShards(): Promise<readonly number[]> {
    return readClosedShards(this.#parts.control, this.#parts.federation.name);
  }

  /** Moves under way, in the order in which they began. */
  async list(options: ListMovesOptions = {}): Promise<MoveStatus[]> {
    const records = await this.#rows.list(
      options.all === true,
      Math.min(LIST_MAX, options.limit ?? LIST_MAX),
    );
    return records.map((record) => statusOf(record, this.#parts.keys));
  }

  /** MOVE_UNKNOWN. */
  async get(id: bigint): Promise<MoveStatus> {
    return statusOf(await this.#find(id), this.#parts.keys);
  }

  /** The move's status now and whenever it has changed, until it has ended. Another process may run it. */
  async *watch(
    id: bigint,
    options: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<MoveStatus, void, undefined> {
    let seen: string | undefined;
    for (;;) {
      const status = statusOf(await this.#find(id), this.#parts.keys);
      const text = `${status.updatedAt.getTime()} ${status.state} ${status.step}`;
      if (text !== seen) yield status;
      seen = text;
      if (status.state === "done" || status.state === "aborted" || options.signal?.aborted) return;
      await sleep(2 * POLL_MS, undefined, { signal: options.signal }).catch(() => undefined);
    }
  }

  /** Stops a move before its next piece of work; `resume` goes on with it. MOVE_UNKNOWN, MOVE_STEP when it has ended. */
  async pause(id: bigint): Promise<MoveStatus> {
    this.#unfinished(await this.#find(id), "paused");
    await this.#rows.want(id, "pause");
    for (;;) {
      const record = await this.#find(id);
      const status = statusOf(record, this.#parts.keys);
      if (record.finished !== undefined || (record.runner === undefined && record.step !== "freeze"))
        return status;
      if ((await this.#leftOf([record], {})).length > 0) {
        if (record.step !== "freeze") return status;
        // Its runner is dead, and may have left the keys frozen: whoever takes it up thaws them before it hears of the pause.
        const taken = await this.#take(record);
        if (taken === undefined) continue;
        await this.#runToRest(taken);
        return this.get(id);
      }
      await sleep(POLL_MS / 2);
    }
  }

  /**
   * Goes on with moves that nobody runs: with one, paused or not, or with all that were left, by a crash or the end of their process. Call it without an id now and
   * then, for one at the start of a service. Resolves when they have ended; a move that fails does not keep the others from going on. MOVE_UNKNOWN.
   */
  async resume(id: bigint, options?: ResumeMovesOptions): Promise<MoveStatus>;
  async resume(options?: ResumeMovesOptions): Promise<MoveStatus[]>;
  async resume(
    first?: bigint | ResumeMovesOptions,
    second: ResumeMovesOptions = {},
  ): Promise<MoveStatus | MoveStatus[]> {
    this.#options.beforeChange("moves.resume");
    if (typeof first === "bigint") return this.#resumeOne(first, second);
    const options = first ?? {};
    const unfinished = (await this.#rows.list(false, LIST_MAX)).filter(({ wanted }) => wanted !== "pause");
    const left = await this.#leftOf(unfinished, options);
    const statuses: MoveStatus[] = [];
    let failure: unknown;
    await inParallel(left, options.parallel ?? PARALLEL_DEFAULT, async (record) => {
      try {
        const taken = await this.#take(record);
        if (taken !== undefined) statuses.push(await this.#run(taken, options, true));
      } catch (error) {
        failure ??= isExpected(error) ? undefined : error;
      }
    });
    if (failure !== undefined) throw failure;
    return statuses;
  }

  /** Turns a move back: its keys stay where they were, and the target is clean. MOVE_STEP after the cut-over: move back instead. MOVE_UNKNOWN. */
  async abort(id: bigint): Promise<MoveStatus> {
    this.#options.beforeChange("moves.abort");
    const record = await this.#find(id);
    if (record.step === "aborted") return statusOf(record, this.#parts.keys);
    this.#unfinished(record, "aborted");
    if (!canTurnBack(record.step) && record.step !== "abort") throw this.#tooLate(record);
    await this.#rows.want(id, "abort");
    for (;;) {
      const now = await this.#find(id);
      if (now.step === "aborted") return statusOf(now, this.#parts.keys);
      if (!canTurnBack(now.step) && now.step !== "abort") throw this.#tooLate(now);
      if ((await this.#leftOf([now], {})).length > 0) {
        const taken = await this.#take(now);
        if (taken !== undefined) await this.#runToRest(taken);
        continue;
      }
      await sleep(POLL_MS / 2);
    }
  }

  /** Unfinished moves that have not reached their purge: while there are any, the schema must not change. */
  async underWay(): Promise<MoveStatus[]> {
    return (await this.list()).filter(({ step }) => step !== "purge");
  }

  /** Leaves the moves that this process runs: each ends its piece of work, and can be resumed. */
  async close(): Promise<void> {
    this.#closing.abort(closed());
    await Promise.allSettled([...this.#running]);
  }

  async #moveKeys(keys: readonly KeyValue[], options: MoveTarget): Promise<MoveStatus[]> {
    this.#checkShard(options.to);
    const { points, served } = await this.#locate(keys);
    await this.#refuseMoving([...points, ...served]);
    const work: (() => Promise<RunningMove>)[] = [];
    const sameShard = [...points, ...served].find(({ row }) => row.shard === options.to);
    if (sameShard !== undefined)
      throw new TesseraeError(
        "MOVE_SAME_SHARD",
        `Key ${this.#parts.keys.show(sameShard.key)} lives on shard ${options.to} already. Leave it out.`,
        { ...this.#place("moves.move", sameShard.key), shard: options.to },
      );
    for (const [source, ofShard] of groupByShard(points)) {
      await this.#preflight(
        ofShard.map(({ row }) => row),
        source,
        options.to,
      );
      const limits = {
        batchKeys: options.batchKeys ?? BATCH_KEYS_DEFAULT,
        batchRows: options.batchRows ?? BATCH_ROWS_DEFAULT,
      };
      const ordered = ofShard.map(({ key }) => key);
      for await (const batch of batchesOf(this.#parts, this.#end(source), ordered, limits)) {
        work.push(async () =>
          this.#start(
            await beginPoints(this.#parts, batch, source, this.#beginning("move", options.to, options)),
            options,
            false,
          ),
        );
      }
    }
    for (const { key, row } of served) {
      await this.#preflight([{ ...row, kind: "p", low: key, high: null }], row.shard, options.to);
      work.push(async () =>
        this.#start(
          await beginIsolation(this.#parts, key, this.#beginning("move", options.to, options)),
          options,
          false,
        ),
      );
    }
    return this.#inOrder(work, options);
  }

  /** Every range, or part of one, that lies in the range asked for. */
  async #moveRange(range: KeyRange, options: MoveTarget): Promise<MoveStatus[]> {
    const { keys } = this.#parts;
    this.#checkShard(options.to);
    const { low, high } = checkRange(keys, range, "moves.move");
    const pieces = (await this.#ranges())
      .filter(
        (row) =>
          (high === null || keys.compare(row.low, high) < 0) &&
          (row.high === null || keys.compare(low, row.high) < 0),
      )
      .map((row) => ({
        ...row,
        low: keys.compare(row.low, low) < 0 ? low : row.low,
        high: endOf(keys, row.high, high),
      }));
    const [first] = pieces;
    if (first === undefined)
      throw new TesseraeError(
        "RANGE_UNKNOWN",
        `No range of federation "${this.#parts.federation.name}" lies from ${keys.show(low)} to ${high === null ? "the end" : keys.show(high)}. fed.tenants.ranges() shows what is there; keys with a place of their own are moved as keys.`,
        this.#place("moves.move", low),
      );
    const elsewhere = pieces.filter(({ shard }) => shard !== options.to);
    if (elsewhere.length === 0)
      throw new TesseraeError("MOVE_SAME_SHARD", `The range is on shard ${options.to} already.`, {
        ...this.#place("moves.move", low),
        shard: options.to,
      });
    for (const piece of elsewhere) await this.#preflight([piece], piece.shard, options.to);
    return this.#inOrder(
      elsewhere.map((piece) => async () => {
        const beginning = this.#beginning("move", options.to, options);
        return this.#start(await beginRange(this.#parts, piece.low, piece.high, beginning), options, false);
      }),
      { ...options, parallel: 1 },
    );
  }

  /** Runs a move that this process has. */
  async #run(
    record: MoveRecord,
    options: Pick<MoveOptions, "onProgress" | "signal" | "waitFor">,
    taken = false,
  ): Promise<MoveStatus> {
    const { arrived, done } = await this.#start(record, options, taken);
    return options.waitFor === "arrived" ? arrived : done;
  }

  async #start(
    record: MoveRecord,
    options: Pick<MoveOptions, "onProgress" | "signal">,
    taken: boolean,
  ): Promise<RunningMove> {
    const { keys } = this.#parts;
    const signal = AbortSignal.any([
      this.#closing.signal,
      ...(options.signal === undefined ? [] : [options.signal]),
    ]);
    const arrived = Promise.withResolvers<MoveStatus>();
    let callersOwn: { readonly error: unknown } | undefined;
    const drive: DriveOptions = {
      signal,
      taken,
      retryMs: RETRY_MS,
      runner: record.runner ?? "",
      onChange: (changed) => {
        const status = statusOf(changed, keys);
        try {
          if (callersOwn === undefined) options.onProgress?.(status);
        } catch (error) {
          // Not the move's affair, least of all in its cut-over: it is told in the end.
          callersOwn = { error };
        }
        if (changed.step === "purge") arrived.resolve(status);
      },
    };
    if (!taken) await this.#parts.at("created");
    const done = driveMove(this.#parts, record, drive).then((ended) => {
      if (callersOwn !== undefined) throw callersOwn.error;
      return statusOf(ended, keys);
    });
    this.#running.add(done);
    const over = () => this.#running.delete(done);
    done.then(over, over);
    const move = { arrived: Promise.race([arrived.promise, done]), done };
    // Whoever waits for one of the two hears of a failure; the other must not be an uncaught one.
    for (const end of [move.arrived, move.done]) end.catch(() => undefined);
    return move;
  }

  async #resumeOne(id: bigint, options: ResumeMovesOptions): Promise<MoveStatus> {
    const record = await this.#find(id);
    if (record.finished !== undefined) return statusOf(record, this.#parts.keys);
    if ((await this.#leftOf([record], options)).length === 0)
      throw new TesseraeError(
        "MOVE_UNDER_WAY",
        `Move ${id} is run by ${record.runner}, which showed itself ${((Date.now() - record.updated.getTime()) / 1000).toFixed(1)} s ago. When it has been silent for ${RUNNER_SILENT_MS / 1000} s it can be taken over: try again then, or watch it.`,
        this.#place("moves.resume"),
      );
    if (record.wanted === "pause") await this.#rows.want(id, "run");
    const taken = await this.#take(record);
    if (taken === undefined) return this.#resumeOne(id, options);
    return this.#run(taken, options, true);
  }

  /** Runs a move that was taken over until it is paused, aborted or done. */
  async #runToRest(taken: MoveRecord): Promise<void> {
    await this.#run(taken, {}, true).catch((error: unknown) => {
      if (!isExpected(error)) throw error;
    });
  }

  /**
   * Those that nobody runs, and those whose runner shows no sign of life. By the clocks of two machines that may only be suspected: what looks silent is looked at
   * again after more than a heartbeat by this one's.
   */
  async #leftOf(records: readonly MoveRecord[], { olderThanMs }: ResumeMovesOptions): Promise<MoveRecord[]> {
    const silentMs = olderThanMs ?? this.#options.internals?.runnerSilentMs ?? RUNNER_SILENT_MS;
    const suspected = records.filter(
      ({ runner, updated }) => runner !== undefined && Date.now() - updated.getTime() >= silentMs,
    );
    const still = new Set<bigint>();
    if (suspected.length > 0) {
      await sleep(Math.min(silentMs, SILENCE_SEEN_MS));
      for (const record of suspected) {
        const now = await this.#rows.find(record.id);
        if (now?.updated.getTime() === record.updated.getTime() && now.token === record.token)
          still.add(record.id);
      }
    }
    return records.filter(({ runner, id }) => runner === undefined || still.has(id));
  }

  #take(seen: MoveRecord): Promise<MoveRecord | undefined> {
    return this.#rows.take(seen.id, nextRunner(), { seen: seen.token });
  }

  async #settled(id: bigint, isSettled: (status: MoveStatus) => boolean): Promise<MoveStatus> {
    for (;;) {
      const status = await this.get(id);
      if (isSettled(status)) return status;
      await sleep(POLL_MS / 2);
    }
  }

  /** Inspects the keys in pages; those that a range serves one by one. KEY_UNKNOWN. */
  async #locate(values: readonly KeyValue[]) {
    const { keys, directoryRows } = this.#parts;
    const unique = new Map(values.map((value) => keys.check(value)).map((key) => [keys.cacheKey(key), key]));
    const sorted = [...unique.values()].sort((a, b) => keys.compare(a, b));
    const points: Located[] = [];
    const served: Located[] = [];
    for (let start = 0; start < sorted.length; start += POINTS_PAGE) {
      const page = sorted.slice(start, start + POINTS_PAGE);
      const rows = new Map((await directoryRows.points(page)).map((row) => [keys.cacheKey(row.low), row]));
      for (const key of page) {
        const row = rows.get(keys.cacheKey(key));
        if (row === undefined) served.push({ key, row: await this.#lookup(key) });
        else points.push({ key, row: this.#served(row, key) });
      }
    }
    return { points, served };
  }

  /** Where a key moves already, the move is named. Whoever begins one at the same moment is refused by the begin itself. */
  async #refuseMoving(located: readonly Located[]): Promise<void> {
    const moving = located.find(({ row }) => row.state === "moving");
    if (moving === undefined) return;
    const move = await this.#parts.directoryRows.moveOf(moving.row);
    throw new TesseraeError(
      "MOVE_UNDER_WAY",
      `Key ${this.#parts.keys.show(moving.key)} of federation "${this.#parts.federation.name}" is being moved from shard ${moving.row.shard} already${move === undefined ? "" : `, by move ${move}`}. Wait for it, or abort it.`,
      { ...this.#place("moves.move", moving.key), shard: moving.row.shard },
    );
  }

  async #lookup(key: KeyValue): Promise<DirectoryRow> {
    return this.#served(await this.#parts.directoryRows.lookup(key, this.#parts.keys.compare), key);
  }

  #served(row: DirectoryRow | undefined, key: KeyValue): DirectoryRow {
    if (row !== undefined && isServed(row)) return row;
    throw new TesseraeError(
      "KEY_UNKNOWN",
      `Key ${this.#parts.keys.show(key)} of federation "${this.#parts.federation.name}" has no shard${row === undefined ? ": it was never added" : ` (${row.state})`}. There is nothing to move.`,
      this.#place("moves", key),
    );
  }

  async #rangeOf(key: KeyValue): Promise<DirectoryRow> {
    const range = (await this.#ranges()).find(
      ({ low, high }) =>
        this.#parts.keys.compare(low, key) <= 0 && (high === null || this.#parts.keys.compare(key, high) < 0),
    );
    if (range !== undefined) return range;
    throw new TesseraeError(
      "RANGE_UNKNOWN",
      `No range of federation "${this.#parts.federation.name}" holds key ${this.#parts.keys.show(key)}. fed.tenants.ranges() shows what is there.`,
      this.#place("moves", key),
    );
  }

  async #ranges(): Promise<DirectoryRow[]> {
    const ranges: DirectoryRow[] = [];
    for (let after: KeyValue | undefined; ; ) {
      const page = await this.#parts.directoryRows.page({ kind: "r", after, limit: LIST_MAX });
      ranges.push(...page);
      if (page.length < LIST_MAX) return ranges;
      after = page.at(-1)?.low;
    }
  }

  /** From where to where a range moves before two become one. What cannot be merged is refused when it begins. */
  async #checkMerge(at: KeyValue, to: number | undefined) {
    const { keys } = this.#parts;
    const ranges = await this.#ranges();
    const upper = ranges.find(({ low }) => keys.compare(low, at) === 0);
    const lower = ranges.find(({ high }) => high !== null && keys.compare(high, at) === 0);
    const target = to ?? lower?.shard;
    const moving = lower?.shard === target ? upper : lower;
    const isOnTarget = lower?.shard === target || upper?.shard === target;
    if (moving !== undefined && target !== undefined && isOnTarget)
      await this.#preflight([moving], moving.shard, target);
    return { source: moving?.shard, target };
  }

  async #preflight(
    members: readonly Pick<DirectoryRow, "kind" | "low" | "high" | "epoch">[],
    source: number,
    target: number,
  ): Promise<void> {
    if (source === target) return;
    const checkShard = async (shard: number) => {
      await this.#options.shardGate(shard);
      await this.#options.checkSchema(shard);
    };
    for (let start = 0; start < members.length; start += POINTS_PAGE) {
      const page = members.slice(start, start + POINTS_PAGE);
      try {
        await preflight(
          this.#parts,
          page,
          { source, target },
          { checkShard: start === 0 ? checkShard : async () => {} },
        );
      } catch (error) {
        const isOfPlaces =
          isTesseraeError(error, "RESIDENCE_CONFLICT") || isTesseraeError(error, "MOVE_TARGET_NOT_EMPTY");
        if (!isOfPlaces || !(await this.#haveMoved(page, source))) throw error;
        throw new TesseraeError(
          "SERIALIZATION",
          "What is to move was moved by somebody else meanwhile. Look where it is now, and ask again.",
          this.#place("moves"),
        );
      }
    }
  }

  /** Whether another move has begun or ended since the directory was read: what was found at the target may be that one's. */
  async #haveMoved(
    members: readonly Pick<DirectoryRow, "kind" | "low" | "epoch">[],
    source: number,
  ): Promise<boolean> {
    const { control, directoryRows, keys } = this.#parts;
    for (const { kind, low, epoch } of members) {
      const row =
        kind === "p"
          ? await directoryRows.lookup(low, keys.compare)
          : await directoryRows.rangeAtOrBelow(control, low);
      if (row?.state !== "active" || row.shard !== source || row.epoch !== epoch) return true;
    }
    return false;
  }

  #beginning<Target extends number | undefined>(
    kind: Beginning["kind"],
    target: Target,
    options: MoveOptions,
  ): Omit<Beginning, "target"> & { readonly target: Target } {
    const settings: MoveSettings = {
      rowsPerSecond: options.rowsPerSecond,
      hours: options.hours,
      graceMs: options.graceMs ?? this.#options.leaseMs + 1_000,
      pauseBudgetMs: options.pauseBudgetMs ?? PAUSE_BUDGET_MS_DEFAULT,
    };
    return { kind, target, settings, runner: nextRunner() };
  }

  /** Begins so many moves at a time. The next one begins when one has arrived: its time of grace and its purge need no place in the queue. */
  async #inOrder(
    work: readonly (() => Promise<RunningMove>)[],
    { parallel = PARALLEL_DEFAULT, waitFor }: Pick<MoveOptions, "parallel" | "waitFor">,
  ): Promise<MoveStatus[]> {
    const running: RunningMove[] = new Array(work.length);
    const purging = new Set<Promise<unknown>>();
    await inParallel([...work.entries()], parallel, async ([index, start]) => {
      const move = await start();
      running[index] = move;
      const over: Promise<void> = move.done.then(
        () => void purging.delete(over),
        () => void purging.delete(over),
      );
      purging.add(over);
      await move.arrived;
      while (purging.size >= PURGES_MAX) await Promise.race(purging);
    });
    return Promise.all(running.map(({ arrived, done }) => (waitFor === "arrived" ? arrived : done)));
  }

  #end(shard: number): ShardEnd {
    let end = this.#ends.get(shard);
    if (end === undefined) {
      this.#checkShard(shard);
      const { federation, keys } = this.#parts;
      const database = this.#options.shardDatabase(shard);
      const place = { cluster: "shards", shard, federation: federation.name };
      const store = new ControlStore(database, place, () => this.#options.shardGate(shard));
      end = {
        shard,
        database,
        store,
        residences: new MoverResidences(shard, store, federation, keys),
        pointResidences: new ResidenceRows(shard, store, federation, keys),
      };
      this.#ends.set(shard, end);
    }
    return end;
  }

  #uncheckedReferences(end: ShardEnd): Promise<boolean> {
    let may = this.#mayUncheck.get(end.shard);
    if (may === undefined) {
      may = this.#askUncheck(end.database);
      this.#mayUncheck.set(end.shard, may);
      may.catch(() => this.#mayUncheck.delete(end.shard));
    }
    return may;
  }

  async #askUncheck(database: Database): Promise<boolean> {
    const connection = await database.acquire();
    try {
      return await database.engine.dialect.mayUncheckReferences(connection);
    } finally {
      connection.release();
    }
  }

  async #find(id: bigint): Promise<MoveRecord> {
    const record = await this.#rows.find(id);
    if (record !== undefined) return record;
    throw new TesseraeError(
      "MOVE_UNKNOWN",
      `There is no move ${id} of federation "${this.#parts.federation.name}". fed.moves.list({ all: true }) shows them.`,
      this.#place("moves"),
    );
  }

  #unfinished(record: MoveRecord, what: string): void {
    if (record.finished === undefined) return;
    throw new TesseraeError(
      "MOVE_STEP",
      `Move ${record.id} is ${record.step} and cannot be ${what} any more.`,
      this.#place("moves"),
    );
  }

  #tooLate(record: MoveRecord): TesseraeError {
    return new TesseraeError(
      "MOVE_STEP",
      `Move ${record.id} is past its cut-over: what it moved lives on shard ${record.target}. To undo it, move it back: fed.moves.move(…, { to: ${record.source} }).`,
      { ...this.#place("moves.abort"), shard: record.target },
    );
  }

  #check(operation: string, options: MoveOptions, to?: number): void {
    this.#options.beforeChange(operation);
    if (this.#closing.signal.aborted) throw closed();
    checkMoveOptions(options, operation, this.#options.leaseMs);
    if (to !== undefined) this.#checkShard(to);
  }

  #checkShard(shard: number): void {
    if (this.#options.shards.includes(shard)) return;
    throw new TesseraeError(
      "SHARD_UNKNOWN",
      `There is no shard ${JSON.stringify(shard)}; the configuration has ${this.#options.shards.join(", ")}, as numbers.`,
      { ...this.#place("moves"), shard },
    );
  }

  #place(operation: string, key?: KeyValue) {
    return {
      federation: this.#parts.federation.name,
      operation,
      key: key === undefined ? undefined : this.#parts.keys.toText(key),
    };
  }
}

interface RunningMove {
  /** When the keys live at the target. */
  readonly arrived: Promise<MoveStatus>;
  readonly done: Promise<MoveStatus>;
}

interface Located {
  readonly key: KeyValue;
  readonly row: DirectoryRow;
}

function groupByShard(located: readonly Located[]): Map<number, Located[]> {
  return Map.groupBy(located, ({ row }) => row.shard);
}

function isRange(what: unknown): boolean {
  return typeof what === "object" && what !== null && !(what instanceof Uint8Array) && !Array.isArray(what);
}

function endOf(
  keys: { compare(a: KeyValue, b: KeyValue): number },
  a: KeyValue | null,
  b: KeyValue | null,
): KeyValue | null {
  if (a === null || b === null) return a ?? b;
  return keys.compare(a, b) < 0 ? a : b;
}

/** Another process goes on with it, or somebody wanted it to end so. */
function isExpected(error: unknown): boolean {
  return (
    error instanceof TesseraeError && ["MOVE_TAKEN_OVER", "MOVE_ABORTED", "MOVE_PAUSED"].includes(error.code)
  );
}

/** Who runs a move, for people, and different for each time that one is run: in containers a process has the id of the one before. */
function nextRunner(): string {
  runners += 1;
  return `${hostname().slice(0, 60)}:${process.pid}:${runners}-${LIFE}`;
}

function closed(): TesseraeError {
  return new TesseraeError("CLOSED", "The federation was closed; its moves were left, and can be resumed.", {
    operation: "moves",
  });
}

/** So many at a time; the first failure ends it when those under way have ended. */
async function inParallel<T>(
  items: readonly T[],
  parallel: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  let failure: { readonly error: unknown } | undefined;
  const worker = async () => {
    while (failure === undefined) {
      const item = queue.shift();
      if (item === undefined) return;
      await run(item).catch((error: unknown) => {
        failure ??= { error };
      });
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, worker));
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
}
