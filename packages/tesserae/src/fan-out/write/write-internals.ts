/** What tests reach into writes over all shards with: `federate({ …, [WRITE_INTERNALS]: { at } })`. No part of the public interface. */
import type { WritePoint } from "./write-everywhere.ts";

export const WRITE_INTERNALS = Symbol.for("tesserae.write-internals");

export interface WriteInternals {
  /** Called at each named point. */
  readonly at?: ((point: WritePoint, shard?: number) => void | Promise<void>) | undefined;
}
