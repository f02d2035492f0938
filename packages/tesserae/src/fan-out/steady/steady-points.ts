/** Where a test may stop a fan-out, and what it reaches in with: `federate({ …, [STEADY_INTERNALS]: { at } })`. No part of the public interface. */
export const STEADY_POINTS = ["begun", "asked", "snapshot", "opened"] as const;

/** `begun`: before the shards are asked. `asked`: their first rows are there. `snapshot`: before one of them takes the snapshot of a careful try. `opened`: all have. */
export type SteadyPoint = (typeof STEADY_POINTS)[number];

export const STEADY_INTERNALS = Symbol.for("tesserae.steady-internals");

export interface SteadyInternals {
  at?(point: SteadyPoint, shard?: number): void | Promise<void>;
}
