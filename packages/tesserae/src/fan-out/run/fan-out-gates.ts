/**
 * A stream over several shards holds a connection of each until its end, and waits for some while it holds others. Two of them, each holding what the other one waits for, would
 * wait until the pools' limits of time. So each shard has a gate for such streams, with fewer places than its pool has connections, and they are entered in the order of the shards'
 * numbers before the first connection is asked for: then nobody who is inside waits for somebody who is inside, and single statements find a connection left.
 *
 * Who holds one shard's connection at a time waits while it holds none, and needs no gate.
 */
import { TesseraeError } from "../../base/errors.ts";
import { Semaphore } from "../../base/semaphore.ts";
import type { Target } from "../../session/target.ts";

export class FanOutGates {
  readonly #places: number;
  readonly #waitMs: number;
  readonly #gates = new Map<number, Semaphore>();

  /** `waitMs` is how long one waits for a place. */
  constructor({ connectionsMax, acquireTimeoutMs }: { connectionsMax: number; acquireTimeoutMs: number }) {
    this.#places = Math.max(1, connectionsMax - 1);
    this.#waitMs = acquireTimeoutMs;
  }

  /** Enters the shards' gates; the function that it gives leaves them. CONNECTION_LIMIT where there was no place for too long. */
  async enter(
    shards: readonly { readonly shard: number; readonly target: Target }[],
    signal: AbortSignal,
  ): Promise<() => void> {
    const entered: Semaphore[] = [];
    const leave = () => {
      for (const gate of entered.splice(0)) gate.give();
    };
    try {
      const targets = new Map(shards.map(({ shard, target }) => [shard, target]));
      for (const [shard, target] of [...targets].sort(([a], [b]) => a - b)) {
        const gate = this.#gateOf(shard, target);
        if (!gate.tryTake())
          await gate.take({ timeoutMs: this.#waitMs, signal, onTimeout: () => this.#limitError(target) });
        entered.push(gate);
      }
      return leave;
    } catch (error) {
      leave();
      throw error;
    }
  }

  #gateOf(shard: number, { database }: Target): Semaphore {
    let gate = this.#gates.get(shard);
    if (gate === undefined) {
      // A database in memory has one connection for all, whatever its pool counts.
      gate = new Semaphore(database.engine.inMemory === true ? 1 : this.#places);
      this.#gates.set(shard, gate);
    }
    return gate;
  }

  #limitError({ place }: Target): TesseraeError {
    return new TesseraeError(
      "CONNECTION_LIMIT",
      `${this.#places} streams over several shards, which is as many as pool.connectionsMax leaves room for, were open for ${this.#waitMs} ms. Read them sooner to their ends, or raise connectionsMax.`,
      place,
    );
  }
}
