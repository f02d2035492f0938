import type { Emit, Kind } from "./checker.ts";
import type { Scenario } from "./scenario.ts";
import { B, type Mover, pack, Residence, type Shard, State, unpack, WORDS } from "./state.ts";

/**
 * What actors make their steps with: they look at `now`, change what `branch` gives them, and hand it to `take`. One step is one
 * transaction on one server, or one statement of a writer's transaction.
 */
export class Transitions {
  readonly scenario: Scenario;
  readonly now = new State();
  private readonly next = new State();
  private readonly nextWords = new Uint32Array(WORDS);
  private nowWords: Uint32Array = this.nextWords;
  private emit: Emit = () => undefined;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
  }

  from(words: Uint32Array, emit: Emit): void {
    this.nowWords = words;
    this.emit = emit;
    unpack(words, this.now);
  }

  branch(): State {
    unpack(this.nowWords, this.next);
    return this.next;
  }

  take(next: State, kind: Kind, label: () => string): void {
    pack(next, this.nextWords);
    this.emit(this.nextWords, kind, label);
  }

  hasFault(fault: Scenario["fault"]): boolean {
    return this.scenario.fault === fault;
  }

  /**
   * Whether somebody holds the key's residence row shared on this shard, so that who wants it alone must wait: the guard takes that lock
   * for writers, and a mover's transaction of which nobody knows the outcome has it too.
   */
  isResidenceShared(shard: Shard): boolean {
    if (shard === B && this.now.targetInFlightKeys !== 0 && !this.hasFault("moverUnlocked")) return true;
    if (this.scenario.fault === "unlockedFence") return false;
    const [first, second] = this.now.writers;
    return (
      (first.statements > 0 && first.route === shard) || (second.statements > 0 && second.route === shard)
    );
  }
}

export function accepts(state: number): boolean {
  return state === Residence.here || state === Residence.leaving;
}

/** It forgets all, as by a crash or because a larger token has been found. */
export function stop(m: Mover): void {
  m.pc = 0;
  m.token = 0;
  m.view = 0;
  m.chunk = 0;
  m.draining = 0;
  forgetRound(m);
  forgetChunk(m);
}

export function forgetRound(m: Mover): void {
  m.batch = 0;
  m.keys = 0;
  m.rows = 0;
}

export function forgetChunk(m: Mover): void {
  m.holdsChunk = 0;
  m.chunkRow = 0;
}
