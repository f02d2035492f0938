/**
 * `fed.moves`, and the calls made of moves: keys and ranges go from shard to shard, live. What a move is made of is in `run-move.ts`; here is what may be asked
 * for, and who runs it: the process that asked, until it is done, or whoever takes it up with `resume`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { TesseraeError } from "../base/errors.ts";
import { readClosedShards, setShardClosed } from "../directory/closed-shards.ts";
import { checkRange } from "../directory/key-range.ts";
import type { Database } from "../engine/contract.ts";
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
import {
  closed,
  inParallel,
  isExpected,
  MoveRuns,
  nextRunner,
  PARALLEL_DEFAULT,
  type RunningMove,
} from "./move-runs.ts";
import type { KeyRange, MoveOptions, MoveStatus, MoveTarget } from "./move-status.ts";
import { type Located, MoveSubjects } from "./move-subjects.ts";
import { type MoveParts, TOUCH_MS } from "./move-work.ts";
import { ShardEnds } from "./shard-ends.ts";

const PAUSE_BUDGET_MS_DEFAULT = 1_000;
const BATCH_KEYS_DEFAULT = 200;
const BATCH_ROWS_DEFAULT = 20_000;
const POLL_MS = 100;
const LIST_MAX = 1_000;

export interface MovesOptions
  extends Pick<
    MoveParts,
    "federation" | "control" | "directoryRows" | "feed" | "keys" | "tables" | "replicas"
  > {
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
  /** From here on waits for replicas, or for none: for one that has stopped applying and will not be repaired. Default: as before. */
  readonly awaitReplicas?: boolean;
}

type KeysOrRange<Key extends KeyValue> = Key | readonly Key[] | KeyRange<Key>;

export class Moves<Key extends KeyValue = KeyValue> {
  readonly #options: MovesOptions;
  readonly #parts: MoveParts;
  readonly #rows: MoveRows;
  readonly #ends: ShardEnds;
  readonly #runs: MoveRuns;
  readonly #subjects: MoveSubjects;

  constructor(options: MovesOptions) {
    this.#options = options;
    this.#rows = new MoveRows(options.control, options.federation, options.keys);
    const { federation, control, directoryRows, feed, keys, tables, replicas } = options;
    this.#parts = {
      federation,
      control,
      directoryRows,
      feed,
      keys,
      tables,
      replicas,
      moves: this.#rows,
      end: (shard) => this.#ends.get(shard),
      transferBetween: (source, target) =>
        new RowTransfer(source.database.engine.dialect, target.database.engine.dialect),
      uncheckedReferences: (end) => this.#ends.mayUncheckReferences(end),
      checkSchema: (...shards) => options.checkSchema(...shards),
      forgetRoutes: (members) => options.forgetRoutes(members),
      at: options.internals?.at ?? (() => {}),
      touchMs: options.internals?.touchMs ?? TOUCH_MS,
    };
    this.#ends = new ShardEnds(options);
    this.#runs = new MoveRuns(this.#parts, options.internals?.runnerSilentMs ?? RUNNER_SILENT_MS);
    this.#subjects = new MoveSubjects({
      parts: this.#parts,
      shardGate: (shard) => options.shardGate(shard),
    });
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
    const range = await this.#subjects.rangeOf(at);
    if (this.#parts.keys.compare(range.low, at) === 0)
      throw new TesseraeError(
        "RANGE_UNKNOWN",
        `A range begins at ${this.#parts.keys.show(at)} already: there is nothing to split. Use moves.move to move it.`,
        this.#place("split", at),
      );
    const target = split.to ?? range.shard;
    await this.#subjects.preflight([{ ...range, low: at }], range.shard, target);
    return this.#runs.run(
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
    const { source, target } = await this.#subjects.checkMerge(at, merge.to);
    const beginning = this.#beginning("merge", target, options);
    return this.#runs.run(await beginMerge(this.#parts, at, source, beginning), options);
  }

  /** Gives a key that the range around it serves a place of its own, on the same shard. A key that has one stays as it is. */
  async isolate(key: Key, options: MoveOptions = {}): Promise<MoveStatus | undefined> {
    this.#check("isolate", options);
    const checked = this.#parts.keys.check(key);
    const row = await this.#subjects.lookup(checked);
    if (row.kind === "p") return undefined;
    return this.#runs.run(
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
    this.#ends.check(shard);
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
        ranges: () => this.#subjects.ranges(),
        moveKeys: (keys, to) => this.#moveKeys(keys, { ...arrived, to }),
        moveRange: (range, to) => this.#moveRange(range, { ...arrived, to }),
        resumeLeft: async () => {
          await this.#options.resumeTenants();
          await this.resume();
        },
        unfinished: () => this.list(),
        checkEnded: () => {
          for (const signal of [options.signal, this.#runs.closing]) signal?.throwIfAborted();
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
    this.#ends.check(shard);
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
      if ((await this.#runs.leftOf([record], {})).length > 0) {
        if (record.step !== "freeze") return status;
        // Its runner is dead, and may have left the keys frozen: whoever takes it up thaws them before it hears of the pause.
        const taken = await this.#runs.take(record);
        if (taken === undefined) continue;
        await this.#runs.runToRest(taken);
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
    const left = await this.#runs.leftOf(unfinished, options);
    const statuses: MoveStatus[] = [];
    let failure: unknown;
    await inParallel(left, options.parallel ?? PARALLEL_DEFAULT, async (record) => {
      try {
        const taken = await this.#runs.take(record);
        if (taken === undefined) return;
        statuses.push(await this.#runs.run(await this.#resettled(taken, options), options, true));
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
      if ((await this.#runs.leftOf([now], {})).length > 0) {
        const taken = await this.#runs.take(now);
        if (taken !== undefined) await this.#runs.runToRest(taken);
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
    await this.#runs.close();
  }

  async #moveKeys(keys: readonly KeyValue[], options: MoveTarget): Promise<MoveStatus[]> {
    this.#ends.check(options.to);
    const { points, served } = await this.#subjects.locate(keys);
    await this.#subjects.refuseMoving([...points, ...served]);
    const work: (() => Promise<RunningMove>)[] = [];
    const sameShard = [...points, ...served].find(({ row }) => row.shard === options.to);
    if (sameShard !== undefined)
      throw new TesseraeError(
        "MOVE_SAME_SHARD",
        `Key ${this.#parts.keys.show(sameShard.key)} lives on shard ${options.to} already. Leave it out.`,
        { ...this.#place("moves.move", sameShard.key), shard: options.to },
      );
    for (const [source, ofShard] of groupByShard(points)) {
      await this.#subjects.preflight(
        ofShard.map(({ row }) => row),
        source,
        options.to,
      );
      const limits = {
        batchKeys: options.batchKeys ?? BATCH_KEYS_DEFAULT,
        batchRows: options.batchRows ?? BATCH_ROWS_DEFAULT,
      };
      const ordered = ofShard.map(({ key }) => key);
      for await (const batch of batchesOf(this.#parts, this.#ends.get(source), ordered, limits)) {
        work.push(async () =>
          this.#runs.start(
            await beginPoints(this.#parts, batch, source, this.#beginning("move", options.to, options)),
            options,
            false,
          ),
        );
      }
    }
    for (const { key, row } of served) {
      await this.#subjects.preflight([{ ...row, kind: "p", low: key, high: null }], row.shard, options.to);
      work.push(async () =>
        this.#runs.start(
          await beginIsolation(this.#parts, key, this.#beginning("move", options.to, options)),
          options,
          false,
        ),
      );
    }
    return this.#runs.inOrder(work, options);
  }

  /** Every range, or part of one, that lies in the range asked for. */
  async #moveRange(range: KeyRange, options: MoveTarget): Promise<MoveStatus[]> {
    const { keys } = this.#parts;
    this.#ends.check(options.to);
    const { low, high } = checkRange(keys, range, "moves.move");
    const pieces = (await this.#subjects.ranges())
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
    for (const piece of elsewhere) await this.#subjects.preflight([piece], piece.shard, options.to);
    return this.#runs.inOrder(
      elsewhere.map((piece) => async () => {
        const beginning = this.#beginning("move", options.to, options);
        return this.#runs.start(
          await beginRange(this.#parts, piece.low, piece.high, beginning),
          options,
          false,
        );
      }),
      { ...options, parallel: 1 },
    );
  }

  /** The move with what is wanted otherwise from now on. */
  async #resettled(taken: MoveRecord, { awaitReplicas }: ResumeMovesOptions): Promise<MoveRecord> {
    if (awaitReplicas === undefined) return taken;
    const { progress } = taken;
    return this.#rows.save(taken, {
      progress: { ...progress, settings: { ...progress.settings, awaitReplicas } },
    });
  }

  async #resumeOne(id: bigint, options: ResumeMovesOptions): Promise<MoveStatus> {
    const record = await this.#find(id);
    if (record.finished !== undefined) return statusOf(record, this.#parts.keys);
    if ((await this.#runs.leftOf([record], options)).length === 0)
      throw new TesseraeError(
        "MOVE_UNDER_WAY",
        `Move ${id} is run by ${record.runner}, which showed itself ${((Date.now() - record.updated.getTime()) / 1000).toFixed(1)} s ago. When it has been silent for ${RUNNER_SILENT_MS / 1000} s it can be taken over: try again then, or watch it.`,
        this.#place("moves.resume"),
      );
    if (record.wanted === "pause") await this.#rows.want(id, "run");
    const taken = await this.#runs.take(record);
    if (taken === undefined) return this.#resumeOne(id, options);
    return this.#runs.run(await this.#resettled(taken, options), options, true);
  }

  async #settled(id: bigint, isSettled: (status: MoveStatus) => boolean): Promise<MoveStatus> {
    for (;;) {
      const status = await this.get(id);
      if (isSettled(status)) return status;
      await sleep(POLL_MS / 2);
    }
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
      replicaLagMs: options.replicaLagMs,
      awaitReplicas: options.awaitReplicas,
    };
    return { kind, target, settings, runner: nextRunner() };
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
    if (this.#runs.closing.aborted) throw closed();
    checkMoveOptions(options, operation, this.#options.leaseMs);
    if (to !== undefined) this.#ends.check(to);
  }

  #place(operation: string, key?: KeyValue) {
    return {
      federation: this.#parts.federation.name,
      operation,
      key: key === undefined ? undefined : this.#parts.keys.toText(key),
    };
  }
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
