/** What tests reach into the moves of a federation with: `federate({ …, [MOVE_INTERNALS]: { at } })`. No part of the public interface. */
import type { MovePoint } from "./move-points.ts";

export const MOVE_INTERNALS = Symbol.for("tesserae.move-internals");

export interface MoveInternals {
  /** Called at each named point: a test stops or kills the process there. */
  readonly at?: ((point: MovePoint) => void | Promise<void>) | undefined;
  /** A runner that has shown no sign of life for so long is taken for dead, in milliseconds. */
  readonly runnerSilentMs?: number | undefined;
  /** How often a runner looks for what is wanted of it, in milliseconds; 0: between any two pieces of work. */
  readonly touchMs?: number | undefined;
}
