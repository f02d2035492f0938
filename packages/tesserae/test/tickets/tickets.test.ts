import { describe, expect, test } from "vitest";
import { bigint, int } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import { federated, global } from "../../src/schema/table.ts";
import { ticketSequences } from "../../src/tickets/sequences.ts";
import type { TicketSource } from "../../src/tickets/ticket-source.ts";
import { Tickets } from "../../src/tickets/tickets.ts";
import { MemorySource } from "./memory-source.ts";

const schema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: bigint().ticket() }),
    sheets: federated("user_id", { id: int().ticket(), user_id: bigint() }),
    dots: federated("user_id", { id: bigint().ticket("places"), user_id: bigint() }),
    pins: federated("user_id", { id: int().ticket("places"), user_id: bigint() }),
  },
}).model;

/** Blocks of one size. */
const open = (source: TicketSource, ticketBlockIds = 10) =>
  new Tickets({
    source,
    sequences: ticketSequences(schema),
    ticketBlockIds,
    ticketBlockIdsMax: ticketBlockIds,
  });
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
    expect(source.leases[0]).toBe(95);
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

describe("mode single", () => {
  const single = (source: TicketSource) =>
    new Tickets({ source, sequences: ticketSequences(schema), ticketMode: "single" });

  test("asks for what each call hands over, and for nothing in advance", async () => {
    const source = new MemorySource();
    const tickets = single(source);
    expect(await tickets.next("users")).toBe(1n);
    expect(await tickets.take("users", 4)).toEqual([2n, 3n, 4n, 5n]);
    expect(await Promise.all([tickets.next("users"), tickets.nextNumber("users")])).toEqual([6n, 7]);
    expect(source.leases).toEqual([1, 4, 1, 1]);
    source.error = new Error("away");
    await expect(tickets.next("users")).rejects.toThrow("away");
    await tickets.close();
    await expect(tickets.next("users")).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("is said for all sequences or for one", async () => {
    const source = new MemorySource();
    const mixed = new Tickets({
      source,
      sequences: ticketSequences(schema, { users: { mode: "single" } }),
      ticketBlockIds: 10,
    });
    await mixed.next("users");
    await mixed.next("sheets");
    const reversed = new Tickets({
      source,
      sequences: ticketSequences(schema, { sheets: { mode: "blocks" } }),
      ticketMode: "single",
      ticketBlockIds: 10,
    });
    await reversed.next("users");
    await reversed.next("sheets");
    expect(source.leases).toEqual([1, 10, 1, 10]);
    for (const wrong of [{ users: { mode: "one" as never } }])
      expect(() => ticketSequences(schema, wrong)).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID" }),
      );
  });

  test("closes after the calls under way, and keeps what a failed take had got for the next one", async () => {
    const source = new MemorySource();
    const tickets = single({
      lease: (sequence, count) => source.lease(sequence, Math.min(count, 3)),
    });
    const waiting = tickets.take("users", 5);
    await tickets.close();
    expect(await waiting).toEqual([1n, 2n, 3n, 4n, 5n]);
    const failing = single({
      lease: (sequence, count) => {
        if (source.leases.length === 3) throw new Error("exhausted");
        return source.lease(sequence, Math.min(count, 3));
      },
    });
    await expect(failing.take("users", 5)).rejects.toThrow("exhausted");
    expect(await failing.take("users", 2)).toEqual([6n, 7n]);
  });
});

describe("numbers", () => {
  test("are given up to 2^53 - 1, and none above", async () => {
    for (const ticketMode of ["blocks", "single"] as const) {
      const tickets = new Tickets({
        source: new MemorySource(1n, 2n ** 53n - 4n),
        sequences: ticketSequences(schema),
        ticketMode,
      });
      expect(await tickets.nextNumber("users")).toBe(Number.MAX_SAFE_INTEGER - 3);
      expect(await tickets.nextNumber("users")).toBe(Number.MAX_SAFE_INTEGER - 2);
      const refused = { code: "TICKET_UNSAFE", message: expect.stringContaining('tickets.next("users")') };
      await expect(tickets.takeNumbers("users", 3)).rejects.toMatchObject(refused);
      await expect(tickets.nextNumber("users")).rejects.toMatchObject(refused);
      expect(await tickets.next("users")).toBeGreaterThan(2n ** 53n);
    }
  });
});
