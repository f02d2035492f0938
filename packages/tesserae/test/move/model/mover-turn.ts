/** What each of a mover's transactions has in common. */
import { Harm, type Mover, Pc, type Shard, type State } from "./state.ts";
import { stop, type Transitions } from "./transitions.ts";

/** A transaction on a shard: what it does if token and state are as expected, else the mover stops. */
export class MoverTurn {
  readonly t: Transitions;
  readonly index: 0 | 1;
  readonly mover: Mover;

  constructor(t: Transitions, index: 0 | 1) {
    this.t = t;
    this.index = index;
    this.mover = t.now.movers[index];
  }

  on(
    shard: Shard,
    states: readonly number[],
    action: string,
    work: (next: State, mover: Mover) => void,
  ): void {
    const residence = this.t.now.residences[shard];
    const tokenHolds = residence.token === this.mover.token || this.t.hasFault("tokenInMainOnly");
    const next = this.t.branch();
    const mover = next.movers[this.index];
    if (tokenHolds && states.includes(residence.state)) {
      work(next, mover);
      this.t.take(next, "progress", () => `${this.name()}: ${action}`);
      return;
    }
    // Under the own token nobody else may have changed the state.
    if (tokenHolds && this.t.scenario.fault === undefined) next.harm = Harm.unexpectedState;
    stop(mover);
    this.t.take(next, "progress", () => `${this.name()}: ${action}: not its token or state, it stops`);
  }

  /** As `on`, with the residence row locked alone: waits for those who share it. */
  aloneOn(
    shard: Shard,
    states: readonly number[],
    action: string,
    work: (next: State, mover: Mover) => void,
  ): void {
    if (!this.t.isResidenceShared(shard)) this.on(shard, states, action, work);
  }

  inMain(action: string, holds: (state: State) => boolean, work: (next: State, mover: Mover) => void): void {
    const next = this.t.branch();
    const mover = next.movers[this.index];
    const goesOn = this.t.now.token === this.mover.token && holds(this.t.now);
    if (goesOn) work(next, mover);
    else stop(mover);
    this.t.take(
      next,
      "progress",
      () => `${this.name()}: ${action}${goesOn ? "" : ": not its token, it stops"}`,
    );
  }

  name(): string {
    return this.mover.token === 0 ? "mover without token" : `mover with token ${this.mover.token}`;
  }

  /** Crashes and takeovers end when all tokens are drawn: the last one's holder finishes. */
  mayStop(): boolean {
    return this.t.now.token < this.t.scenario.tokens;
  }
}

export function nameOfPc(pc: number): string {
  return Object.entries(Pc).find(([, value]) => value === pc)![0];
}
