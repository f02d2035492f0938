/**
 * Which counters this process has compared with the ids in use: each counter of a server before its first lease here, and again when the server has been away, since it
 * may have been restored meanwhile. What could not be compared with every database is compared again, beside the leases, until it could.
 */
import { isTesseraeError } from "../base/errors.ts";
import { type CheckedCounter, compareCounter, counterBehind } from "./counter-check.ts";
import type { IdsInUse } from "./ids-in-use.ts";
import type { TicketSequence } from "./ticket-source.ts";

/** How often databases that did not answer are asked again. */
const AGAIN_MS = 5_000;

export interface LeasedCounter extends CheckedCounter {
  /** Whose counter it is. */
  readonly server: object;
  /** See `TicketServer.life`. */
  readonly life: number;
}

interface Comparison {
  readonly life: number;
  /** Rejected when the counter is behind, or does not answer. */
  readonly ended: Promise<void>;
  /** Every database was asked. */
  complete: boolean;
  triedAt: number;
}

export class CounterChecks {
  readonly #ids: IdsInUse | undefined;
  readonly #begun = new Map<string, Promise<void>>();
  readonly #comparisons = new Map<string, Map<object, Comparison>>();
  readonly #beside = new Set<Promise<void>>();

  /** Without `ids` nothing is compared. */
  constructor(ids: IdsInUse | undefined) {
    this.#ids = ids;
  }

  /** Before the process's first id of a sequence: every counter that answers, and a refusal when one is behind. Once; again after a refusal, when somebody may have put it right. */
  begin(sequence: TicketSequence, counters: () => readonly LeasedCounter[]): Promise<void> | undefined {
    if (this.#ids === undefined) return undefined;
    let begun = this.#begun.get(sequence.name);
    if (begun === undefined) {
      begun = this.#beginWith(sequence, counters(), this.#ids);
      this.#begun.set(sequence.name, begun);
      begun.catch(() => this.#begun.delete(sequence.name));
    }
    return begun;
  }

  async #beginWith(
    sequence: TicketSequence,
    counters: readonly LeasedCounter[],
    ids: IdsInUse,
  ): Promise<void> {
    // The rows are asked once for all, and first.
    const highest = ids.highest(sequence.name);
    for (const counter of counters) {
      try {
        await this.#compare(sequence, counter, ids, highest);
      } catch (error) {
        // A server that does not answer is compared when it does.
        if (isTesseraeError(error, "TICKET_COUNTER_BEHIND")) throw error;
      }
    }
  }

  /** Before a lease from a counter. */
  async before(sequence: TicketSequence, counter: LeasedCounter): Promise<void> {
    const ids = this.#ids;
    if (ids === undefined) return;
    const known = this.#comparisons.get(sequence.name)?.get(counter.server);
    if (known === undefined || known.life !== counter.life) {
      await this.#compare(sequence, counter, ids, ids.highest(sequence.name));
      return;
    }
    await known.ended;
    if (known.complete || performance.now() - known.triedAt < AGAIN_MS) return;
    known.triedAt = performance.now();
    const again = this.#complete(sequence, counter, ids, known).finally(() => this.#beside.delete(again));
    this.#beside.add(again);
  }

  /** Waits for what runs beside the leases. */
  async close(): Promise<void> {
    await Promise.all(this.#beside);
  }

  #compare(
    sequence: TicketSequence,
    counter: LeasedCounter,
    ids: IdsInUse,
    highest: ReturnType<IdsInUse["highest"]>,
  ): Promise<void> {
    const of = this.#comparisonsOf(sequence);
    const ended = compare(sequence, counter, ids, highest).then(
      (complete) => {
        comparison.complete = complete;
        comparison.triedAt = performance.now();
      },
      (error: unknown) => {
        if (of.get(counter.server) === comparison) of.delete(counter.server);
        throw error;
      },
    );
    const comparison: Comparison = { life: counter.life, ended, complete: false, triedAt: 0 };
    of.set(counter.server, comparison);
    return ended;
  }

  /** What it finds is found again, and refused, before the next lease. */
  async #complete(
    sequence: TicketSequence,
    counter: LeasedCounter,
    ids: IdsInUse,
    comparison: Comparison,
  ): Promise<void> {
    const of = this.#comparisonsOf(sequence);
    try {
      comparison.complete = await compare(sequence, counter, ids, ids.highest(sequence.name));
    } catch {
      if (of.get(counter.server) === comparison) of.delete(counter.server);
    }
  }

  #comparisonsOf({ name }: TicketSequence): Map<object, Comparison> {
    let comparisons = this.#comparisons.get(name);
    if (comparisons === undefined) {
      comparisons = new Map();
      this.#comparisons.set(name, comparisons);
    }
    return comparisons;
  }
}

/** Refuses a counter that is behind. Gives whether every database could be asked. */
async function compare(
  sequence: TicketSequence,
  counter: LeasedCounter,
  ids: IdsInUse,
  highest: ReturnType<IdsInUse["highest"]>,
): Promise<boolean> {
  const { id, unread } = await highest;
  const silent = [...unread];
  const finding = await compareCounter(sequence, ids, counter, id, silent);
  if (finding !== undefined) throw counterBehind(sequence.name, finding);
  return silent.length === 0;
}
