/** The moves that this process runs: begun here, or taken up where another left them. */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { TesseraeError } from "../base/errors.ts";
import { type MoveRecord, statusOf } from "./move-record.ts";
import type { MoveOptions, MoveStatus } from "./move-status.ts";
import type { MoveParts } from "./move-work.ts";
import { type DriveOptions, driveMove } from "./run-move.ts";

export const PARALLEL_DEFAULT = 2;
/** A server that is down is waited for so long, unless there is progress. */
const RETRY_MS = 600_000;
/** Moves that have arrived and wait for their grace, or purge, beside those that are under way. */
const PURGES_MAX = 50;
/** More than a heartbeat. */
const SILENCE_SEEN_MS = 2_500;

export interface RunningMove {
  /** When the keys live at the target. */
  readonly arrived: Promise<MoveStatus>;
  readonly done: Promise<MoveStatus>;
}

export class MoveRuns {
  readonly #parts: MoveParts;
  /** A runner that has shown no sign of life for so long is taken for dead. */
  readonly #silentMs: number;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor(parts: MoveParts, silentMs: number) {
    this.#parts = parts;
    this.#silentMs = silentMs;
  }

  /** Aborted when no more moves are run here. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Each move ends its piece of work, and can be resumed. */
  async close(): Promise<void> {
    this.#closing.abort(closed());
    await Promise.allSettled([...this.#running]);
  }

  /** Runs a move that this process has. */
  async run(
    record: MoveRecord,
    options: Pick<MoveOptions, "onProgress" | "signal" | "waitFor">,
    taken = false,
  ): Promise<MoveStatus> {
    const { arrived, done } = await this.start(record, options, taken);
    return options.waitFor === "arrived" ? arrived : done;
  }

  async start(
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

  /** Runs a move that was taken over until it is paused, aborted or done. */
  async runToRest(taken: MoveRecord): Promise<void> {
    await this.run(taken, {}, true).catch((error: unknown) => {
      if (!isExpected(error)) throw error;
    });
  }

  /**
   * Those that nobody runs, and those whose runner shows no sign of life. By the clocks of two machines that may only be suspected: what looks silent is looked at
   * again after more than a heartbeat by this one's.
   */
  async leftOf(
    records: readonly MoveRecord[],
    { olderThanMs }: { readonly olderThanMs?: number | undefined },
  ): Promise<MoveRecord[]> {
    const silentMs = olderThanMs ?? this.#silentMs;
    const suspected = records.filter(
      ({ runner, updated }) => runner !== undefined && Date.now() - updated.getTime() >= silentMs,
    );
    const still = new Set<bigint>();
    if (suspected.length > 0) {
      await sleep(Math.min(silentMs, SILENCE_SEEN_MS));
      for (const record of suspected) {
        const now = await this.#parts.moves.find(record.id);
        if (now?.updated.getTime() === record.updated.getTime() && now.token === record.token)
          still.add(record.id);
      }
    }
    return records.filter(({ runner, id }) => runner === undefined || still.has(id));
  }

  take(seen: MoveRecord): Promise<MoveRecord | undefined> {
    return this.#parts.moves.take(seen.id, nextRunner(), { seen: seen.token });
  }

  /** Begins so many moves at a time. The next one begins when one has arrived: its time of grace and its purge need no place in the queue. */
  async inOrder(
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
}

let runners = 0;
const LIFE = randomBytes(4).toString("hex");

/** Who runs a move, for people, and different for each time that one is run: in containers a process has the id of the one before. */
export function nextRunner(): string {
  runners += 1;
  return `${hostname().slice(0, 60)}:${process.pid}:${runners}-${LIFE}`;
}

/** Another process goes on with it, or somebody wanted it to end so. */
export function isExpected(error: unknown): boolean {
  return (
    error instanceof TesseraeError && ["MOVE_TAKEN_OVER", "MOVE_ABORTED", "MOVE_PAUSED"].includes(error.code)
  );
}

export function closed(): TesseraeError {
  return new TesseraeError("CLOSED", "The federation was closed; its moves were left, and can be resumed.", {
    operation: "moves",
  });
}

/** So many at a time; the first failure ends it when those under way have ended. */
export async function inParallel<T>(
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
