/**
 * One update or delete over all shards: `fed.everywhere.using({ allowEverywhere: true }).updateTable(…)`.
 *
 * There is no transaction over several shards. Each shard is written in one of its own, all or nothing, and the report says what became of each. Within that, **every key is written exactly
 * once**, also while keys move; what makes it so:
 *
 * 1. Before anything else main is asked for the moves under way, and for the largest id of all moves: the *mark*.
 * 2. Each shard runs the statement for its own keys without those that move (points or ranges, with all that lies inside). Whose rows they are the shard's residences say, in the statement itself.
 * 3. Before its commit main is asked again. A key whose move began after the mark may have been cut over before the statement ran: then the shard saw it too late or too early. It is rolled
 *    back and runs again without that key. A move that is not cut over yet does no harm: the source had the key, and the target did not.
 * 4. A key that no shard wrote in this way is one that was left out by its first home, the shard where it was at the mark. When all shards are through these are written by themselves, under locks at
 *    both ends (`moving-keys.ts`). What is asked of keys in ranges is asked of parts that no move cuts (`moving-parts.ts`); a key with a place of its own is meant by no range around it.
 *
 * A run that is taken up again keeps its mark and what is done. So a key that has moved since from a shard that failed to one that is done is written where it is now, and one that has moved the other
 * way not a second time.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { OperationNode } from "kysely";
import { isTesseraeError, TesseraeError } from "../../base/errors.ts";
import type { KeyCodec } from "../../directory/key-codec.ts";
import type { ControlStore } from "../../engine/control-store.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import type { SchemaModel } from "../../schema/model.ts";
import type { Target } from "../../session/target.ts";
import { CheckedWrite } from "./checked-write.ts";
import {
  both,
  type Condition,
  contains,
  isOwn,
  type KeyMember,
  meantBy,
  not,
  overlaps,
  portionsOf,
} from "./key-members.ts";
import { type MoveInMain, MovesInMain } from "./moves-in-main.ts";
import { type MovingKeys, writeMoving } from "./moving-keys.ts";
import { isAmong, type KeyPart, partsOf } from "./moving-parts.ts";
import {
  EverywhereWriteError,
  type EverywhereWriteReport,
  type MovingWrite,
  type RerunOptions,
  type ShardWrite,
} from "./write-report.ts";
import { CommitUnknown, WriteTransaction } from "./write-transaction.ts";

export interface EverywhereWriteOptions {
  readonly schema: SchemaModel;
  readonly keys: KeyCodec;
  /** Main's control tables: the moves and the directory. */
  readonly control: ControlStore;
  /** Only the rows of these keys, which were checked. */
  readonly only?: readonly KeyValue[] | undefined;
  /** Shards written at the same time. Default 8. */
  readonly concurrency?: number | undefined;
  /** How long keys that change hands are waited for, in milliseconds. Default 5 000. */
  readonly waitMs?: number | undefined;
  /** Nothing is begun after it; what is under way ends by itself. */
  readonly signal?: AbortSignal | undefined;
  /** Called at named points: a test goes on from there. */
  readonly at?: ((point: WritePoint, shard?: number) => void | Promise<void>) | undefined;
}

export type WritePoint = "marked" | "shard:written" | "shard:done" | "moving:begin";

const CONCURRENCY_DEFAULT = 8;
const WAIT_MS_DEFAULT = 5_000;
const PAUSE_MS = 20;
/** How often a shard is written anew because keys were cut over meanwhile, or somebody was in the way. */
const ATTEMPTS_MAX = 10;

/**
 * Writes every shard. Raises FAN_OUT_WRITE_FAILED, an `EverywhereWriteError` with the report, when one of them was not written; STATEMENT_REFUSED and its like before anything is sent.
 */
export async function writeEverywhere(
  node: OperationNode,
  shards: ReadonlyMap<number, Target>,
  options: EverywhereWriteOptions,
): Promise<EverywhereWriteReport> {
  options.signal?.throwIfAborted();
  const write = new CheckedWrite(node, options.schema, options.keys.federation.name);
  const run = new WriteRun(write, shards, options);
  await run.mark();
  return run.go();
}

/** A shard that is done, and whom it left out. */
interface Done {
  readonly write: ShardWrite;
  readonly leftOut: readonly KeyMember[];
}

interface Unit extends MovingKeys {
  readonly write: MovingWrite;
}

class WriteRun {
  readonly #write: CheckedWrite;
  readonly #shards: ReadonlyMap<number, Target>;
  readonly #options: EverywhereWriteOptions;
  readonly #moves: MovesInMain;
  readonly #done = new Map<number, Done>();
  readonly #failed = new Map<number, ShardWrite>();
  /** Keys that were written by themselves, or failed. */
  #units: readonly Unit[] = [];
  #last = 0n;
  /** Under way at the mark. */
  #first: readonly MoveInMain[] = [];

  constructor(write: CheckedWrite, shards: ReadonlyMap<number, Target>, options: EverywhereWriteOptions) {
    this.#write = write;
    this.#shards = shards;
    this.#options = options;
    this.#moves = new MovesInMain(options.control, options.keys);
  }

  async mark(): Promise<void> {
    // In this order: a move that begins in between is one after the mark.
    this.#last = await this.#moves.last();
    this.#first = (await this.#moves.since(this.#last)).filter(({ id }) => id <= this.#last);
    await this.#options.at?.("marked");
  }

  async go(unknownToo = false): Promise<EverywhereWriteReport> {
    const { concurrency = CONCURRENCY_DEFAULT } = this.#options;
    const queue = [...this.#shards.keys()].filter((shard) => {
      const failed = this.#failed.get(shard);
      return failed === undefined ? !this.#done.has(shard) : failed.state === "failed" || unknownToo;
    });
    const work = async () => {
      for (let shard = queue.shift(); shard !== undefined; shard = queue.shift()) await this.#shard(shard);
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, queue.length) }, work));
    const deadline = performance.now() + (this.#options.waitMs ?? WAIT_MS_DEFAULT);
    do await this.#writeMoving(unknownToo);
    while (this.#units.some(({ write }) => isChanged(write)) && performance.now() < deadline);
    const report = this.#report();
    if ([...report.shards, ...report.moving].every(({ state }) => state === "done")) return report;
    throw new EverywhereWriteError(report, this.#federation);
  }

  get #federation(): string {
    return this.#options.keys.federation.name;
  }

  async #shard(shard: number): Promise<void> {
    try {
      const { affectedRows, leftOut } = await this.#writeShard(shard);
      this.#failed.delete(shard);
      this.#done.set(shard, { write: { shard, state: "done", affectedRows, error: undefined }, leftOut });
      await this.#options.at?.("shard:done", shard);
    } catch (error) {
      const state = error instanceof CommitUnknown ? "unknown" : "failed";
      this.#failed.set(shard, { shard, state, affectedRows: 0n, error: this.#named(error, { shard }) });
    }
  }

  async #writeShard(shard: number): Promise<{ affectedRows: bigint; leftOut: readonly KeyMember[] }> {
    const target = this.#shards.get(shard) as Target;
    const { signal, waitMs = WAIT_MS_DEFAULT, at } = this.#options;
    const deadline = performance.now() + waitMs;
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      // What is not cut over need not be left out, until it is in the way. A key that gets a place of its own is meant by no range any more, and would come back from one that is left out.
      const late = ({ id, cutOver, isolates }: MoveInMain) =>
        id <= this.#last || cutOver || isolates || attempt > 1;
      const moves = (await this.#movesSinceMark()).filter(late);
      const leftOut = moves.flatMap(({ members }) => members);
      const transaction = await WriteTransaction.open(target, signal);
      try {
        let affectedRows = 0n;
        for (const portion of this.#only)
          affectedRows += await transaction.write(this.#write.where(this.#condition(leftOut, portion)));
        await at?.("shard:written", shard);
        if ((await this.#cutOverMeanwhile(shard, moves)).length === 0) {
          await transaction.commit();
          return { affectedRows, leftOut };
        }
        if (attempt >= ATTEMPTS_MAX) throw this.#restless();
      } catch (error) {
        if (!isTesseraeError(error) || !IN_THE_WAY.has(error.code)) throw error;
        if (attempt >= ATTEMPTS_MAX && performance.now() > deadline) throw error;
      } finally {
        await transaction.rollBack();
      }
      await sleep(PAUSE_MS * Math.random());
    }
  }

  /** The shard's own keys without those that are left out. A frozen one that is not left out is touched, so that the guard refuses: passed over, it would be forgotten. */
  #condition(leftOut: readonly KeyMember[], portion: Condition | undefined): Condition {
    const { keyColumn } = this.#write;
    return both(
      portion,
      not(meantBy(keyColumn, leftOut, this.#federation)),
      isOwn(keyColumn, this.#federation, ["here", "leaving", "frozen"]),
    );
  }

  /** Whose rows alone are meant: a statement for each portion. */
  get #only(): readonly (Condition | undefined)[] {
    return portionsOf(this.#write.keyColumn, this.#options.only, this.#options.keys);
  }

  /** Those under way at the mark, and those that began later, ended or not. */
  async #movesSinceMark(): Promise<MoveInMain[]> {
    const now = await this.#moves.since(this.#last);
    return [...this.#first, ...now.filter(({ id }) => id > this.#last)];
  }

  async #cutOverMeanwhile(shard: number, leftOut: readonly MoveInMain[]): Promise<MoveInMain[]> {
    const known = new Set(leftOut.map(({ id }) => id));
    const now = await this.#moves.since(this.#last);
    return now.filter(
      ({ id, cutOver, isolates, source, target }) =>
        id > this.#last && (cutOver || isolates) && !known.has(id) && (source === shard || target === shard),
    );
  }

  /** What no shard has written: the keys of moves that were under way at the mark, and of later ones those that their first home left out, or has not written. */
  async #writeMoving(unknownToo: boolean): Promise<void> {
    const { keys } = this.#options;
    const moves = await this.#movesSinceMark();
    const settled = this.#units.filter(
      ({ write }) => write.state === "done" || (write.state === "unknown" && !unknownToo),
    );
    const known = settled.flatMap(({ parts }) => parts);
    /** Parts that are on their way by the same moves go together. */
    const together = new Map<string, { readonly parts: KeyPart[]; readonly shards: Set<number> }>();
    for (const part of partsOf(
      keys,
      moves.flatMap(({ members }) => members),
    )) {
      const theirs = this.#moves.concerning(part, moves);
      if (isAmong(keys, part, known) || !this.#isLeftOut(part, theirs, unknownToo)) continue;
      const name = `${part.member.kind} ${theirs.map(({ id }) => id).join()}`;
      const unit = together.get(name) ?? { parts: [], shards: new Set<number>() };
      unit.parts.push(part);
      for (const { source, target } of theirs) unit.shards.add(source).add(target);
      together.set(name, unit);
    }
    this.#units = settled;
    const seen = moves.at(-1)?.id ?? this.#last;
    for (const unit of together.values()) {
      await this.#options.at?.("moving:begin");
      this.#units = [...this.#units, await this.#writeUnit(unit, seen)];
    }
  }

  /** Whether no shard has written the keys, nor will when it is run again. Their first home is the source of the first move of theirs after the mark. */
  #isLeftOut({ member }: KeyPart, theirs: readonly MoveInMain[], unknownToo: boolean): boolean {
    const first = theirs[0] as MoveInMain;
    if (first.id <= this.#last) return true;
    const home = this.#done.get(first.source);
    if (home !== undefined) {
      // A key with a place of its own is meant by no range that the shard has left out.
      const inRange = first.members.some(({ kind }) => kind === "r");
      const meant = home.leftOut.filter(({ kind }) => inRange || kind === member.kind);
      return meant.some((other) => contains(this.#options.keys, other, member));
    }
    if (this.#failed.get(first.source)?.state === "unknown" && !unknownToo) return false;
    // Not written there. While they are there, it is that shard's to be run again.
    return theirs.some(({ cutOver }) => cutOver);
  }

  async #writeUnit(unit: MovingKeys, seen: bigint): Promise<Unit> {
    const { signal, keys, control, waitMs = WAIT_MS_DEFAULT } = this.#options;
    const what = describe(unit.parts, keys);
    const deadline = performance.now() + waitMs;
    const without = this.#units
      .filter(({ write }) => write.state !== "failed")
      .flatMap(({ parts: done }) => done);
    const isAsSeen = async () => {
      const now = (await this.#moves.since(this.#last)).filter(({ id }) => id > seen && id > this.#last);
      const touches = (member: KeyMember) => unit.parts.some((part) => overlaps(keys, member, part.member));
      return !now.some(({ members }) => members.some(touches));
    };
    const parts = {
      write: this.#write,
      only: this.#only,
      keys,
      control,
      shards: this.#shards,
      signal,
      isAsSeen,
    };
    try {
      for (let now: MovingKeys = unit; ; ) {
        signal?.throwIfAborted();
        const outcome = await writeMoving(parts, now, without);
        if (outcome.kind === "done") {
          const { affectedRows } = outcome;
          return {
            ...now,
            parts: outcome.parts,
            write: { what, state: "done", affectedRows, error: undefined },
          };
        }
        if (outcome.kind === "changed" || performance.now() > deadline) throw outcome.error;
        now = { ...now, shards: outcome.shards };
        await sleep(PAUSE_MS * (0.5 + Math.random() / 2));
      }
    } catch (error) {
      const state = error instanceof CommitUnknown ? "unknown" : "failed";
      return { ...unit, write: { what, state, affectedRows: 0n, error: this.#named(error, {}) } };
    }
  }

  #restless(): TesseraeError {
    return new TesseraeError(
      "MOVE_UNDER_WAY",
      "Keys were cut over each time that this shard was written, so that it could not be known which of them it has. Pause the moves (fed.moves.pause), and run the shard again: error.report.rerun().",
      { federation: this.#federation, operation: "everywhere" },
    );
  }

  #named(error: unknown, place: { readonly shard?: number }): TesseraeError {
    const known = error instanceof CommitUnknown ? error.reason : error;
    if (known instanceof TesseraeError) return known.at({ ...place, federation: this.#federation });
    const { signal } = this.#options;
    const message =
      signal?.aborted && known === signal.reason
        ? "The write was ended by its signal before it came to this shard."
        : known instanceof Error
          ? known.message
          : String(known);
    return new TesseraeError("QUERY_FAILED", message, {
      ...place,
      federation: this.#federation,
      operation: "everywhere",
      cause: known,
    });
  }

  #report(): EverywhereWriteReport {
    const shards = [...this.#shards.keys()]
      .sort((a, b) => a - b)
      .map((shard) => this.#done.get(shard)?.write ?? (this.#failed.get(shard) as ShardWrite));
    const moving = this.#units.map(({ write }) => write);
    const affectedRows = [...shards, ...moving].reduce((sum, each) => sum + each.affectedRows, 0n);
    const rerun = ({ unknown = false }: RerunOptions = {}) => this.go(unknown);
    return { shards, moving, affectedRows, rerun };
  }
}

/** Others were in the way, and nothing was written. */
const IN_THE_WAY: ReadonlySet<string> = new Set([
  "GUARD_REFUSED",
  "DEADLOCK",
  "SERIALIZATION",
  "LOCK_TIMEOUT",
]);

/** Its keys moved once more, or were put apart, before they could be locked: they are to be looked at anew. */
function isChanged({ state, error }: MovingWrite): boolean {
  return state === "failed" && error?.code === "MOVE_UNDER_WAY";
}

function describe(parts: readonly KeyPart[], keys: KeyCodec): string {
  const [first] = parts.map(({ member }) => member);
  if (first === undefined) return "nothing";
  const more = parts.length === 1 ? "" : ` and ${parts.length - 1} more`;
  if (first.kind === "p") return `key ${keys.show(first.low)}${more}`;
  return `the range from ${keys.show(first.low)} to ${first.high === null ? "the end" : keys.show(first.high)}${more}`;
}
