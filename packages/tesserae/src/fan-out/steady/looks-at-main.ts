/** A process's looks at the moves in main: shared by all who look at the same time, and for a moment by those who come later. */
import { FreshAnswers } from "../../base/fresh-answers.ts";
import { hasBegun, type MovesSeen, type MovesUnderWay, QUIET_MS, underWay } from "./moves-seen.ts";

/** A look younger than this is not put again beside the shards' work. */
const YOUNG_MS = QUIET_MS / 2;

class Look {
  readonly answer: Promise<MovesSeen>;
  readonly #putMs = performance.now();
  readonly #putWallMs = Date.now();

  constructor(put: () => Promise<MovesSeen>) {
    this.answer = put();
  }

  /** Since before it was put. The steady clock stands still while the machine sleeps, the wall clock may be set back: neither alone tells. */
  get ageMs(): number {
    const wallMs = Date.now() - this.#putWallMs;
    return wallMs < 0 ? Number.POSITIVE_INFINITY : Math.max(performance.now() - this.#putMs, wallMs);
  }
}

export class LooksAtMain {
  readonly #moves: MovesUnderWay;
  readonly #answers = new FreshAnswers<MovesSeen>();
  #latest: Look | undefined;
  #seen: MovesSeen | undefined;

  constructor(moves: MovesUnderWay) {
    this.#moves = moves;
  }

  /** What was seen last, however long ago. */
  get seen(): MovesSeen | undefined {
    return this.#seen;
  }

  /** A look that is put now or later. */
  async look(before: MovesSeen | undefined): Promise<MovesSeen> {
    const name = before === undefined ? "" : [before.newest, ...underWay(before).map(({ id }) => id)].join();
    const seen = await this.#answers.ask(name, () => {
      const look = new Look(() => this.#moves.look(before));
      this.#latest = look;
      return look.answer;
    });
    this.#seen = seen;
    return seen;
  }

  /** Puts a look beside the shards' work, where one can be enough. Its failure is heard of by who needs it. */
  lookAhead(before: MovesSeen): void {
    if (underWay(before).length > 0) return;
    if (this.#latest !== undefined && this.#latest.ageMs < YOUNG_MS) return;
    this.look(before).catch(() => undefined);
  }

  /**
   * Whether it is known, without one more look, that no move has shown on any shard since `before`, up to this call: a look found none, and what has begun since then still
   * keeps quiet.
   */
  async isQuietSince(before: MovesSeen): Promise<boolean> {
    const latest = this.#latest;
    // By the clock of now: what was read was read before.
    if (underWay(before).length > 0 || latest === undefined || latest.ageMs >= QUIET_MS) return false;
    try {
      const seen = await latest.answer;
      return underWay(seen).length === 0 && !hasBegun(before, seen);
    } catch {
      return false;
    }
  }
}
