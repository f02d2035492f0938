import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BlockStock } from "../../src/tickets/block-stock.ts";
import type { TicketBlock, TicketSequence, TicketSource } from "../../src/tickets/ticket-source.ts";
import { MemorySource } from "./memory-source.ts";

const sequence: TicketSequence = { name: "dots", start: 1n, max: 2n ** 62n };
const turns = async (count = 3) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** What one lease does: how many turns it takes, how much it grants of what was asked for, whether it fails. */
interface LeaseScript {
  readonly turns: number;
  readonly share: number;
  readonly fails: "no" | "before" | "after";
}

/** Follows a script over and over, and notes what it granted. */
class ScriptedSource implements TicketSource {
  readonly granted: bigint[] = [];
  asked = 0;
  atOnce = 0;
  readonly #script: readonly LeaseScript[];
  readonly #step: bigint;
  #next = 1n;
  #calls = 0;

  constructor(script: readonly LeaseScript[], step: bigint) {
    this.#script = script;
    this.#step = step;
  }

  async lease(_sequence: TicketSequence, count: number): Promise<TicketBlock> {
    const { turns: wait, share, fails } = this.#script[this.#calls++ % this.#script.length] as LeaseScript;
    this.asked = Math.max(this.asked, count);
    expect(++this.atOnce).toBe(1);
    await turns(wait);
    this.atOnce--;
    if (fails === "before") throw new Error("no answer");
    const first = this.#next;
    const granted = Math.max(1, Math.floor(count * share));
    this.#next += BigInt(granted) * this.#step;
    // An answer that was lost: these ids are nobody's.
    if (fails === "after") throw new Error("lost answer");
    for (let i = 0; i < granted; i++) this.granted.push(first + BigInt(i) * this.#step);
    return { first, count: granted, step: this.#step };
  }
}

const script = fc.array(
  fc.record({
    turns: fc.integer({ min: 0, max: 3 }),
    share: fc.constantFrom(1, 1, 0.5, 0.1),
    fails: fc.constantFrom("no" as const, "no" as const, "no" as const, "before" as const, "after" as const),
  }),
  { minLength: 1, maxLength: 8 },
);
/** A caller's calls: 0 takes one id, above that so many at once; below it waits for turns. */
const callers = fc.array(fc.array(fc.integer({ min: -2, max: 40 }), { maxLength: 25 }), {
  minLength: 1,
  maxLength: 6,
});

/** All calls of all callers; each call's ids, in the order in which the calls were made, none for one that failed. */
async function call(stock: BlockStock, plans: readonly (readonly number[])[], watch: () => void) {
  const calls: { ids: bigint[] }[] = [];
  await Promise.all(
    plans.map(async (plan) => {
      for (const count of plan) {
        if (count < 0) {
          await turns(-count);
          continue;
        }
        const made = { ids: [] as bigint[] };
        calls.push(made);
        const single = () => {
          const id = stock.pop();
          return id === undefined ? stock.next() : Promise.resolve(id);
        };
        made.ids = await (count === 0 ? single().then((id) => [id]) : stock.take(count)).catch(() => []);
        expect([0, Math.max(1, count)]).toContain(made.ids.length);
        watch();
      }
    }),
  );
  return calls;
}

describe("the stock of blocks", () => {
  test("gives every leased id once, in the order of the calls and of the leases, and keeps what it did not give", async () => {
    await fc.assert(
      fc.asyncProperty(
        script,
        callers,
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 10 }),
        fc.constantFrom(1n, 2n, 3n, 10n),
        async (leases, plans, blockIds, growth, step) => {
          const source = new ScriptedSource(leases, step);
          const blockIdsMax = blockIds * growth;
          const stock = new BlockStock({ source, sequence, blockIds, blockIdsMax });
          const calls = await call(stock, plans, () => {
            // A take that failed gives back what it had.
            expect(stock.stocked).toBeLessThanOrEqual(2 * blockIdsMax + 40);
          });
          await stock.close();
          const given = calls.flatMap(({ ids }) => ids);
          expect(given).toEqual(source.granted.slice(0, given.length));
          expect(given.length + stock.stocked).toBe(source.granted.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("a loop that takes id after id lets the answer in before the stock is used up", async () => {
    const source = new MemorySource();
    const stock = new BlockStock({ source, sequence, blockIds: 20_000, blockIdsMax: 20_000 });
    const take = () => {
      const id = stock.pop();
      return id === undefined ? stock.next() : Promise.resolve(id);
    };
    let least = 20_000;
    for (let i = 0; i < 60_000; i++) {
      await take();
      least = Math.min(least, stock.stocked);
    }
    expect(least).toBeGreaterThan(0);
    expect(source.leases).toHaveLength(4);
  });

  test("blocks grow while they are used up quickly, to their maximum, and fall back when use slows", async () => {
    const source = new MemorySource();
    let now = 0;
    const stock = new BlockStock({ source, sequence, blockIds: 10, blockIdsMax: 75, now: () => now });
    const lease = async () => {
      const before = source.leases.length;
      while (source.leases.length === before) {
        await stock.next();
        await turns(2);
      }
      return source.leases.at(-1);
    };
    expect(await lease()).toBe(10);
    const sizes: unknown[] = [];
    for (const pause of [99, 99, 99, 99, 500, 999, 1_000, 2_500, 60_000, 50]) {
      now += pause;
      sizes.push(await lease());
    }
    expect(sizes).toEqual([20, 40, 75, 75, 75, 75, 37, 10, 10, 20]);
    await stock.close();
  });

  test("blocks grow when callers had to wait for a slow lease", async () => {
    const source = new MemorySource();
    let now = 0;
    const stock = new BlockStock({ source, sequence, blockIds: 4, blockIdsMax: 16, now: () => now });
    await Promise.all(Array.from({ length: 4 }, () => stock.next()));
    expect(source.leases).toEqual([4, 8]);
    now += 500;
    // The lease of the eight is under way: these find nothing, and wait for it.
    await Promise.all(Array.from({ length: 6 }, () => stock.next()));
    expect(source.leases).toEqual([4, 8, 16]);
    await stock.close();
  });

  test("a prefetch that failed is tried again when half of the rest is used", async () => {
    const source = new MemorySource();
    const stock = new BlockStock({ source, sequence, blockIds: 16, blockIdsMax: 16 });
    await stock.next();
    source.error = new Error("away");
    const triedAt: number[] = [];
    for (let i = 1; i < 16; i++) {
      const before = source.leases.length;
      await (stock.pop() ?? stock.next());
      await turns();
      if (source.leases.length > before) triedAt.push(stock.stocked);
    }
    expect(triedAt).toEqual([8, 3, 1, 0]);
    await expect(stock.next()).rejects.toThrow("away");
  });

  test("those who ask for no more than what a failed take had get it", async () => {
    const source = new MemorySource();
    const stock = new BlockStock({ source, sequence, blockIds: 4, blockIdsMax: 4 });
    await stock.take(2);
    await turns();
    source.error = new Error("away");
    const results = await Promise.allSettled([stock.take(100), stock.take(5), stock.next()]);
    expect(results).toMatchObject([
      { status: "rejected" },
      { status: "fulfilled", value: [3n, 4n, 5n, 6n, 7n] },
      { status: "fulfilled", value: 8n },
    ]);
  });
});
