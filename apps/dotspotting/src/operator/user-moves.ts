import { isTesseraeError, type MoveOptions, type MoveStatus } from "tesserae";
import type { DotFederation } from "../federation.ts";

const movesShown = 20;
/** A request waits so long at most to hear that its move is under way, or refused. */
const answerMs = 2_000;
/** So often moves are looked for that nobody runs. */
const lookMs = 15_000;

type Caller = Required<Pick<MoveOptions, "onProgress" | "signal">>;

/**
 * The moves that this process runs, and the list of all. A move outlives the request that began it, and also the process: what was under way when a
 * process ended is gone on with by the next start.
 */
export class UserMoves {
  readonly #fed: DotFederation;
  readonly #log: (message: string, error?: unknown) => void;
  readonly #leaving = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(fed: DotFederation, log: (message: string, error?: unknown) => void) {
    this.#fed = fed;
    this.#log = log;
  }

  /** Begins to move a user, and answers as soon as the move is under way. Rejects when it is refused. */
  start(userId: bigint, to: number, rowsPerSecond?: number): Promise<void> {
    const pace = rowsPerSecond === undefined ? {} : { rowsPerSecond };
    return this.#begin(`Moving user ${userId}`, (caller) =>
      this.#fed.moves.move(userId, { to, ...pace, ...caller }),
    );
  }

  /** Goes on with a move that was paused, or that nobody runs. */
  resume(id: bigint): Promise<void> {
    return this.#begin(`Move ${id}`, (caller) => this.#fed.moves.resume(id, caller));
  }

  /** Goes on with whatever is left by a process that has ended, now and from time to time. */
  keepGoing(): void {
    const look = () => {
      this.#begin("Going on with moves", (caller) => this.#fed.moves.resume(caller)).catch((error: unknown) =>
        this.#log("Moves that were left cannot be gone on with", error),
      );
    };
    const timer = setInterval(look, lookMs).unref();
    this.#leaving.signal.addEventListener("abort", () => clearInterval(timer));
    look();
  }

  async pause(id: bigint): Promise<void> {
    await this.#fed.moves.pause(id);
  }

  async abort(id: bigint): Promise<void> {
    await this.#fed.moves.abort(id);
  }

  /** Those that are open, and the last that have ended; newest first. */
  async list(): Promise<MoveStatus[]> {
    const [open, last] = await Promise.all([
      this.#fed.moves.list(),
      this.#fed.moves.list({ all: true, limit: movesShown }),
    ]);
    const byId = new Map([...open, ...last].map((move) => [move.id, move]));
    return [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  /** Undefined where there is no such move. */
  async find(id: bigint): Promise<MoveStatus | undefined> {
    try {
      return await this.#fed.moves.get(id);
    } catch (error) {
      if (isTesseraeError(error, "MOVE_UNKNOWN")) return undefined;
      throw error;
    }
  }

  /** Leaves the moves where they are. */
  async close(): Promise<void> {
    this.#leaving.abort();
    await Promise.all(this.#running);
  }

  /** Settles when the move shows progress, has ended, or is refused; what becomes of it later is in the list. */
  #begin(what: string, work: (caller: Caller) => Promise<unknown>): Promise<void> {
    return new Promise((resolve, reject) => {
      let begun = false;
      const onProgress = () => {
        begun = true;
        resolve();
      };
      const patience = setTimeout(onProgress, answerMs);
      const running = work({ onProgress, signal: this.#leaving.signal })
        .then(
          () => resolve(),
          (error: unknown) => {
            if (!begun) reject(error);
            else if (!this.#isExpected(error)) this.#log(`${what} stopped`, error);
          },
        )
        .finally(() => {
          clearTimeout(patience);
          this.#running.delete(running);
        });
      this.#running.add(running);
    });
  }

  /** Somebody wanted it so; the list says what has become of the move. */
  #isExpected(error: unknown): boolean {
    const wanted = ["MOVE_PAUSED", "MOVE_ABORTED", "MOVE_TAKEN_OVER"] as const;
    return this.#leaving.signal.aborted || wanted.some((code) => isTesseraeError(error, code));
  }
}
