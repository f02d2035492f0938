/**
 * A stream over several shards holds a connection of each until its end, and waits for some while it holds others. Two of them, each holding what the other one waits for, would
 * wait until the pools' limits of time. So each shard has a gate for such streams, with fewer places than its pool has connections, and they are entered in the order of the shards'
 * numbers before the first connection is asked for: then nobody who is inside waits for somebody who is inside, and single statements find a connection left.
 *
 * Who holds one shard's connection at a time waits while it holds none, and needs no gate. Who asks one shard by several statements, since its keys are more than one takes, needs a place for each of
 * them, and takes them together: of two who each had some of the last places, neither would get the rest.
 */
import { TesseraeError } from "../../base/errors.ts";
import { Semaphore } from "../../base/semaphore.ts";
import type { Target } from "../../session/target.ts";

interface Gate {
  readonly places: Semaphore;
  readonly placesMax: number;
  /** Held while several places are taken. */
  readonly several: Semaphore;
}

interface Entering {
  readonly target: Target;
  count: number;
}

export class FanOutGates {
  readonly #places: number;
  readonly #waitMs: number;
  readonly #gates = new Map<number, Gate>();

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
    const entering = new Map<number, Entering>();
    for (const { shard, target } of shards) {
      const known = entering.get(shard);
      if (known === undefined) entering.set(shard, { target, count: 1 });
      else known.count += 1;
    }
    try {
      for (const [shard, { target, count }] of [...entering].sort(([a], [b]) => a - b)) {
        const gate = this.#gateOf(shard, target);
        if (count > gate.placesMax) throw this.#tooFew(target, count, gate.placesMax);
        const take = async (semaphore: Semaphore) => {
          if (!semaphore.tryTake())
            await semaphore.take({
              timeoutMs: this.#waitMs,
              signal,
              onTimeout: () => this.#limitError(target),
            });
        };
        if (count > 1) await take(gate.several);
        try {
          for (let place = 0; place < count; place++) {
            await take(gate.places);
            entered.push(gate.places);
          }
        } finally {
          if (count > 1) gate.several.give();
        }
      }
      return leave;
    } catch (error) {
      leave();
      throw error;
    }
  }

  #gateOf(shard: number, { database }: Target): Gate {
    let gate = this.#gates.get(shard);
    if (gate === undefined) {
      // A database in memory has one connection for all, whatever its pool counts.
      const placesMax = database.engine.inMemory === true ? 1 : this.#places;
      gate = { places: new Semaphore(placesMax), placesMax, several: new Semaphore(1) };
      this.#gates.set(shard, gate);
    }
    return gate;
  }

  #tooFew({ place }: Target, count: number, placesMax: number): TesseraeError {
    return new TesseraeError(
      "CONNECTION_LIMIT",
      `The query names more keys of the shard than one statement takes. ${count} statements would be read at the same time, and pool.connectionsMax leaves room for ${placesMax}. Name fewer keys at a time, or raise connectionsMax.`,
      { ...place, retryable: false },
    );
  }

  #limitError({ place }: Target): TesseraeError {
    return new TesseraeError(
      "CONNECTION_LIMIT",
      `${this.#places} streams over several shards, which is as many as pool.connectionsMax leaves room for, were open for ${this.#waitMs} ms. Read them sooner to their ends, or raise connectionsMax.`,
      place,
    );
  }
}
