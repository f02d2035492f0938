/** The mover's side of a chaos process: moves as an application asks for them, with orders to stop or die at a named point. */
import { setTimeout as sleep } from "node:timers/promises";
import { isTesseraeError } from "../../../src/index.ts";
import type { ChildQuestion, PointOrder } from "./chaos-messages.ts";
import type { ChaosFederation } from "./chaos-schema.ts";
import { GRACE_MS } from "./chaos-timing.ts";
import { SeededRandom } from "./seeded-random.ts";
import { StandingMoves } from "./standing-moves.ts";

type MoverQuestion = Extract<
  ChildQuestion,
  {
    readonly verb: "order" | "delay" | "stand" | "moveAbout" | "stopMoving" | "resume";
  }
>;

/** What a mover may meet while others move the same keys and databases are away. */
const EXPECTED = new Set([
  "MOVE_TAKEN_OVER",
  "MOVE_UNDER_WAY",
  "MOVE_SAME_SHARD",
  "MOVE_ABORTED",
  "RANGE_UNKNOWN",
  // Two ranges that are to be merged on a shard which another mover has made neither's.
  "SHARD_UNKNOWN",
  "TENANT_BUSY",
  "CONNECTION_LOST",
  "CONNECT_FAILED",
  "PRIMARY_NOT_FOUND",
  "CONNECTION_LIMIT",
  "LOCK_TIMEOUT",
  "DEADLOCK",
  "SERIALIZATION",
]);

export class MoverWork {
  readonly #fed: ChaosFederation;
  readonly #tell: (point: string) => Promise<void>;
  #order: PointOrder | null = null;
  #beingCutOff: Promise<void> = Promise.resolve();
  /** How often moves came to the point of the order. */
  #arrived = 0;
  #delays: Readonly<Record<string, number>> = {};
  readonly #standing: StandingMoves;
  #moving: { stopped: boolean; done: Promise<unknown> } | undefined;

  constructor(fed: ChaosFederation, tell: (point: string) => Promise<void>) {
    this.#fed = fed;
    this.#tell = tell;
    this.#standing = new StandingMoves(fed, tell);
  }

  /** The engine's hook. */
  async reach(point: string): Promise<void> {
    await this.#standing.reach(point);
    const delayMs = this.#delays[point];
    if (delayMs !== undefined) await sleep(delayMs);
    const order = this.#order;
    if (order?.point !== point) return;
    this.#arrived += 1;
    if (this.#arrived < order.after) return;
    this.#order = null;
    this.#beingCutOff = this.#cutOff(order);
    await this.#beingCutOff;
  }

  async #cutOff({ point, signal }: PointOrder): Promise<void> {
    await this.#tell(point);
    process.kill(process.pid, signal);
    // The signal may take a moment to arrive; nothing may be done in it.
    await sleep(20);
  }

  /** Answered when it no longer sleeps for the order before. */
  async #take(order: PointOrder | null): Promise<void> {
    await this.#beingCutOff;
    this.#order = order;
    this.#arrived = 0;
  }

  answer(question: MoverQuestion): Promise<unknown> {
    switch (question.verb) {
      case "order":
        return this.#take(question.order);
      case "delay":
        this.#delays = question.delays;
        return Promise.resolve();
      case "stand":
        return this.#standing.run(question);
      case "moveAbout":
        return this.#begin(question);
      case "stopMoving":
        return this.#stop();
      case "resume":
        return question.ids === undefined ? this.#resumeAll() : this.#resume(question.ids);
    }
  }

  async #begin(question: Extract<MoverQuestion, { verb: "moveAbout" }>): Promise<void> {
    await this.#stop();
    const state = { stopped: false, done: Promise.resolve() as Promise<unknown> };
    state.done = this.#moveAbout(question, state);
    // Whoever asks to stop hears of it.
    state.done.catch(() => {});
    this.#moving = state;
  }

  async #stop(): Promise<Record<string, number>> {
    const moving = this.#moving;
    this.#moving = undefined;
    if (moving === undefined) return {};
    moving.stopped = true;
    return (await moving.done) as Record<string, number>;
  }

  /** How often each thing was done or met. */
  async #moveAbout(
    { keys, range, seed }: Extract<MoverQuestion, { verb: "moveAbout" }>,
    state: { readonly stopped: boolean },
  ): Promise<Record<string, number>> {
    const random = new SeededRandom(seed);
    const met: Record<string, number> = {};
    while (!state.stopped) {
      let outcome: string;
      try {
        outcome = await this.#moveSomething(random, keys.map(BigInt), range);
      } catch (error) {
        if (!isTesseraeError(error) || !EXPECTED.has(error.code)) throw error;
        outcome = error.code;
        await sleep(random.int(5, 40));
      }
      met[outcome] = (met[outcome] ?? 0) + 1;
      await sleep(random.int(0, 30));
    }
    return met;
  }

  async #moveSomething(
    random: SeededRandom,
    keys: readonly bigint[],
    range: { readonly low: string; readonly high: string } | null,
  ): Promise<string> {
    const { moves, tenants } = this.#fed;
    const waitFor = random.chance(0.3) ? "arrived" : "done";
    const options = {
      graceMs: GRACE_MS,
      waitFor,
      batchKeys: random.int(1, 4),
      // Slow enough for a copy in several slices.
      ...(random.chance(0.1) ? { rowsPerSecond: 400 } : {}),
    } as const;
    if (range !== null && random.chance(0.7)) {
      const low = BigInt(range.low);
      const high = BigInt(range.high);
      const middle = low + (high - low) / 2n;
      const to = 3 - (await tenants.where(low)).shard;
      const draw = random.int(1, 10);
      if (draw <= 4) await moves.move({ low, high }, { ...options, to });
      else if (draw <= 6) await this.#fed.split({ at: middle, to }, options);
      else if (draw <= 8) await this.#fed.merge({ at: middle, to }, options);
      else await this.#fed.isolate(random.pick(keys), options);
      return `range ${draw}`;
    }
    const chosen = random.some(keys, random.int(1, keys.length));
    const to = 3 - (await tenants.where(chosen[0] as bigint)).shard;
    if (random.chance(0.15)) return this.#abortSome(random, chosen, to);
    await moves.move(chosen, { ...options, to });
    return "done";
  }

  /** Begins a move and asks for its end at some moment. */
  async #abortSome(random: SeededRandom, keys: readonly bigint[], to: number): Promise<string> {
    const { moves } = this.#fed;
    const moving = moves.move(keys, { to, graceMs: GRACE_MS });
    moving.catch(() => {});
    await sleep(random.int(0, 60));
    const aborted: string[] = [];
    for (const { id } of await moves.list())
      aborted.push(
        await moves.abort(id).then(
          () => "abort taken",
          (error: unknown) => (isTesseraeError(error) ? error.code : String(error)),
        ),
      );
    await moving.catch(() => {});
    return "abort";
  }

  /** What an application or a timer calls after a crash: all that is under way, whoever had it. Gives how many there were. */
  async #resumeAll(): Promise<number> {
    const underWay = await this.#fed.moves.list();
    await this.#fed.moves.resume({ olderThanMs: 0 });
    return underWay.length;
  }

  async #resume(ids: readonly string[]): Promise<void> {
    await Promise.all(
      ids.map(async (id) => {
        try {
          await this.#fed.moves.resume(BigInt(id), { olderThanMs: 0 });
        } catch (error) {
          // It was to end so.
          if (!isTesseraeError(error, "MOVE_ABORTED")) throw error;
        }
      }),
    );
  }
}
