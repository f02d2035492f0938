/**
 * Moves of one process that each come to a point of their own and stand there, until all do: then the process ends or sleeps, with all of them cut off at
 * once.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import type { ChildQuestion, StandingMove } from "./chaos-messages.ts";
import type { ChaosFederation } from "./chaos-schema.ts";
import { GRACE_MS } from "./chaos-timing.ts";

/** Long enough for writers to write. */
const LINGER_MS = 400;

interface Stand {
  readonly move: StandingMove;
  hasLeft: boolean;
  hasLingered: boolean;
  hasCome: boolean;
}

/** The caller's side of a move failed; the move is left as it is. */
class LeftOnPurpose extends Error {}

export class StandingMoves {
  readonly #fed: ChaosFederation;
  readonly #tell: (point: string) => Promise<void>;
  /** Which of the moves it is that comes to a point: the engine's hook names the point alone. */
  readonly #running = new AsyncLocalStorage<Stand>();

  #missing = 0;
  #signal: "SIGKILL" | "SIGSTOP" = "SIGKILL";
  #released = Promise.withResolvers<void>();

  constructor(fed: ChaosFederation, tell: (point: string) => Promise<void>) {
    this.#fed = fed;
    this.#tell = tell;
  }

  /** Resolves, after the sleep, with how each one ended: a code, or "done"; and with "missed" of a move that never came to its point. */
  run({ moves, signal }: Extract<ChildQuestion, { verb: "stand" }>): Promise<string[]> {
    this.#missing = moves.length;
    this.#signal = signal;
    this.#released = Promise.withResolvers();
    return Promise.all(
      moves.map(async (move) => {
        const stand: Stand = { move, hasLeft: false, hasLingered: false, hasCome: false };
        const ended = await this.#running
          .run(stand, () => this.#move(stand))
          .then(
            () => "done",
            (error: unknown) => {
              if (error instanceof LeftOnPurpose) return "done";
              return (error as { code?: string }).code ?? String(error);
            },
          );
        if (stand.hasCome) return ended;
        await this.#count();
        return `missed ${move.point}: ${ended}`;
      }),
    );
  }

  /** The engine's hook. */
  async reach(point: string): Promise<void> {
    const stand = this.#running.getStore();
    if (stand === undefined) return;
    const { move } = stand;
    if (point === move.lingerAt && !stand.hasLingered) {
      stand.hasLingered = true;
      await sleep(LINGER_MS);
    }
    if (point === move.leaveAt && !stand.hasLeft) {
      stand.hasLeft = true;
      throw new LeftOnPurpose(point);
    }
    if (point !== move.point || stand.hasCome) return;
    stand.hasCome = true;
    void this.#count();
    await this.#released.promise;
  }

  async #count(): Promise<void> {
    this.#missing -= 1;
    if (this.#missing > 0) return;
    await this.#tell("all stand");
    process.kill(process.pid, this.#signal);
    // The signal may take a moment to arrive; nothing may be done in it.
    await sleep(20);
    this.#released.resolve();
  }

  async #move({ move }: Stand): Promise<void> {
    const { key, to, rowsPerSecond } = move;
    const at = BigInt(key);
    const options = {
      to,
      graceMs: GRACE_MS,
      ...(rowsPerSecond === undefined ? {} : { rowsPerSecond }),
    };
    if (move.kind === "merge") return void (await this.#fed.merge({ at, to }, { graceMs: GRACE_MS }));
    const moving = () =>
      move.kind === "key"
        ? this.#fed.moves.move(at, options)
        : this.#fed.moves.move({ low: at - 10n, high: at + 10n }, options);
    if (!move.abort) return void (await moving());
    await moving().catch((error: unknown) => {
      if (!(error instanceof LeftOnPurpose)) throw error;
    });
    for (const { id, key: moved } of await this.#fed.moves.list())
      if (moved === key) await this.#fed.moves.abort(id);
  }
}
