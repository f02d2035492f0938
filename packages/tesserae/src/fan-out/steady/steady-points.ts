/** Where a test may stop a fan-out, and what it reaches in with: `federate({ …, [STEADY_INTERNALS]: { at } })`. No part of the public interface. */
/**
 * `look`: main is looked at. `begun`: before the shards are asked. `asked`: their first rows are there. Of a careful try: `snapshot`: before a shard takes its snapshot. `opened`: it has, or without a shard: all
 * have.
 */
export type SteadyPoint = "look" | "begun" | "asked" | "snapshot" | "opened";

export const STEADY_INTERNALS = Symbol.for("tesserae.steady-internals");

export interface SteadyInternals {
  at?(point: SteadyPoint, shard?: number): void | Promise<void>;
  /** No answer is taken that was not asked in snapshots. */
  readonly alwaysCarefully?: boolean;
}
