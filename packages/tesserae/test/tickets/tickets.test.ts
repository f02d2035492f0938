import { describe, expect, test } from "vitest";
import { bigint, int } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import { federated, global } from "../../src/schema/table.ts";
import { ticketSequences } from "../../src/tickets/sequences.ts";
import type { TicketBlock, TicketSequence, TicketSource } from "../../src/tickets/ticket-source.ts";
import { Tickets } from "../../src/tickets/tickets.ts";

const schema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: bigint().ticket() }),
    sheets: federated("user_id", { id: int().ticket(), user_id: bigint() }),
    dots: federated("user_id", { id: bigint().ticket("places"), user_id: bigint() }),
    pins: federated("user_id", { id: int().ticket("places"), user_id: bigint() }),
  },
}).model;

/** Counts in memory, answers a turn later, and can be made to fail. */
class MemorySource implements TicketSource {
  readonly leases: number[] = [];
  readonly step: bigint;
  error: Error | undefined;
  #next = 1n;

  constructor(step = 1n) {
    this.step = step;
  }

  async lease(_sequence: TicketSequence, count: number): Promise<TicketBlock> {
    this.leases.push(count);
    const first = this.#next;
    this.#next += BigInt(count) * this.step;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.error !== undefined) throw this.error;
    return { first, count, step: this.step };
  }
}

const open = (source: TicketSource, ticketBlockIds = 10) =>
  new Tickets({ source, sequences: ticketSequences(schema), ticketBlockIds });
const turns = () => new Promise((resolve) => setTimeout(resolve, 5));

describe("sequences", () => {
  test("come from the schema's ticket columns; the narrowest column bounds them", () => {
    const sequences = ticketSequences(schema);
    expect([...sequences.keys()].toSorted()).toEqual(["places", "sheets", "users"]);
    expect(sequences.get("users")?.max).toBe(2n ** 63n - 2n);
    expect(sequences.get("sheets")?.max).toBe(2n ** 31n - 1n);
    expect(sequences.get("places")?.max).toBe(2n ** 31n - 1n);
  });

  test("options add some, give them a start, and must make sense", () => {
    const sequences = ticketSequences(schema, { sheets: { start: 500n }, orders: { start: 7n, max: 9n } });
    expect(sequences.get("sheets")).toEqual({ name: "sheets", start: 500n, max: 2n ** 31n - 1n });
    expect(sequences.get("orders")).toEqual({ name: "orders", start: 7n, max: 9n });
    for (const wrong of [
      { sheets: { max: 2n ** 40n } },
      { orders: { start: 0n } },
      { orders: { start: 5n, max: 4n } },
      { "": {} },
    ]) {
      expect(() => ticketSequences(schema, wrong)).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID" }),
      );
    }
  });

  test("an unknown one is refused, with those that are known", async () => {
    await expect(open(new MemorySource()).next("user")).rejects.toMatchObject({
      code: "TICKET_SEQUENCE_UNKNOWN",
      message: expect.stringContaining('"users"'),
    });
  });
});

describe("the stock of ids", () => {
  test("gives ids from memory, and leases the next block before the first one ends", async () => {
    const source = new MemorySource();
    const tickets = open(source);
    const ids: bigint[] = [];
    for (let i = 0; i < 5; i++) ids.push(await tickets.next("users"));
    expect(source.leases).toEqual([10, 10]);
    await turns();
    for (let i = 0; i < 25; i++) ids.push(await tickets.next("users"));
    expect(ids).toEqual(Array.from({ length: 30 }, (_, i) => BigInt(i + 1)));
  });

  test("callers at once share one lease, which is as large as they need together", async () => {
    const source = new MemorySource();
    const tickets = open(source);
    const ids = await Promise.all(Array.from({ length: 95 }, () => tickets.next("users")));
    expect(ids).toEqual(Array.from({ length: 95 }, (_, i) => BigInt(i + 1)));
    // The first caller's block is under way when the others come.
    expect(source.leases.slice(0, 2)).toEqual([10, 85]);
  });

  test("take leases exactly what is missing when that is more than a block, and rises", async () => {
    const source = new MemorySource();
    const tickets = open(source);
    expect(await tickets.take("users", 95)).toEqual(Array.from({ length: 95 }, (_, i) => BigInt(i + 1)));
    expect(source.leases[0]).toBe(95);
    const small = await tickets.take("users", 3);
    expect(small).toHaveLength(3);
    for (const count of [0, -1, 1.5, Number.NaN, 10 ** 7])
      await expect(tickets.take("users", count)).rejects.toMatchObject({ code: "VALUE_INVALID" });
  });

  test("a source with a step gives every such id", async () => {
    const tickets = open(new MemorySource(2n), 3);
    expect(await tickets.take("users", 7)).toEqual([1n, 3n, 5n, 7n, 9n, 11n, 13n]);
  });

  test("a failed lease is the waiting callers' error, and the next call tries again", async () => {
    const source = new MemorySource();
    const tickets = open(source);
    source.error = new Error("main is away");
    const results = await Promise.allSettled([tickets.next("users"), tickets.take("users", 3)]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    source.error = undefined;
    expect(await tickets.next("users")).toBeGreaterThan(0n);
  });

  test("a prefetch that fails is nobody's error while there is stock", async () => {
    const source = new MemorySource();
    const tickets = open(source);
    await tickets.next("users");
    source.error = new Error("main is away");
    for (let i = 0; i < 9; i++) {
      await tickets.next("users");
      await turns();
    }
    await expect(tickets.next("users")).rejects.toThrow("main is away");
  });

  test("what a failed take had got already is given to the next caller", async () => {
    const source = new MemorySource();
    const tickets = open(source, 4);
    await tickets.take("users", 2);
    await turns();
    source.error = new Error("exhausted");
    await expect(tickets.take("users", 100)).rejects.toThrow("exhausted");
    expect(await tickets.take("users", 2)).toEqual([3n, 4n]);
  });

  test("is closed after the leases under way", async () => {
    const tickets = open(new MemorySource());
    const waiting = tickets.next("users");
    await tickets.close();
    expect(await waiting).toBe(1n);
    await expect(tickets.next("users")).rejects.toMatchObject({ code: "CLOSED" });
    expect(() => open(new MemorySource(), 0)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});
