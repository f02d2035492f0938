/** Ticket servers: whose ids are whose, who is asked, what is refused at the start, and what becomes of a counter that is behind. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { hasDuplicates, remainders, TicketSite } from "./ticket-site.ts";

forEachEngine((engine) => {
  describe(`ticket servers on ${engine.name}`, () => {
    test.each([1, 2, 3, 10])(
      "%i of them: each gives its own ids, in blocks and one by one",
      async (servers) => {
        await using site = await TicketSite.of(engine, servers);
        const blocks = await site.open(site.tickets, { ticketing: { blockIds: 7 } });
        await blocks.schema.apply();
        const single = await site.open(site.tickets, { ticketing: { mode: "single" } });
        const ids: bigint[] = [];
        for (let round = 0; round < 2 * servers; round++) {
          ids.push(...(await blocks.tickets.take("dots", 10)), await single.tickets.next("dots"));
          ids.push(...(await single.tickets.take("dots", 3)));
        }
        expect(hasDuplicates(ids)).toBe(false);
        expect(remainders(ids, servers)).toEqual(Array.from({ length: servers }, (_, index) => index));
        const status = await blocks.tickets.status();
        expect(status).toMatchObject({ generation: 1, growing: undefined });
        expect(status.servers.map(({ offset, step, state }) => ({ offset, step, state }))).toEqual(
          Array.from({ length: servers }, (_, index) => ({
            offset: index + 1,
            step: servers,
            state: "open",
          })),
        );
        expect(await blocks.tickets.check()).toEqual([]);
        // The order of a configuration decides nothing: a server knows its own residue.
        const reversed = await site.open(site.tickets.toReversed(), { ticketing: { blockIds: 7 } });
        expect(hasDuplicates([...ids, ...(await reversed.tickets.take("dots", 50))])).toBe(false);
      },
    );

    test("a 32-bit sequence ends on all servers with an error, having given every id once", async () => {
      await using site = await TicketSite.of(engine, 3);
      const start = 2n ** 31n - 20n;
      const places = await site.open(site.tickets, {
        ticketing: { blockIds: 3, sequences: { sheets: { start } } },
      });
      await places.schema.apply();
      const ids: bigint[] = [];
      for (let taken = 0; taken < 20; taken++) ids.push(await places.tickets.next("sheets"));
      await expect(places.tickets.next("sheets")).rejects.toMatchObject({
        code: "TICKET_SEQUENCE_EXHAUSTED",
        cluster: "tickets",
      });
      expect(ids.toSorted((a, b) => Number(a - b))).toEqual(
        Array.from({ length: 20 }, (_, i) => start + BigInt(i)),
      );
      expect(await places.tickets.next("dots")).toBeGreaterThan(0n);
    });

    test("a sequence at the end of 63 bits is exhausted, and stands in the way of nothing", async () => {
      await using site = await TicketSite.of(engine, 2);
      const start = 2n ** 63n - 3n;
      const options = { ticketing: { mode: "single" as const, sequences: { late: { start } } } };
      const poor = await site.open([], options);
      await poor.schema.apply();
      expect(await poor.tickets.take("late", 2)).toEqual([start, start + 1n]);
      const exhausted = { code: "TICKET_SEQUENCE_EXHAUSTED" };
      await expect(poor.tickets.next("late")).rejects.toMatchObject(exhausted);
      await poor.tickets.next("dots");
      await expect(poor.tickets.raise("dots", { above: start })).rejects.toMatchObject({
        code: "VALUE_INVALID",
      });
      const places = await site.open(site.tickets, options);
      expect(await places.tickets.grow()).toMatchObject({ generation: 1, changed: true });
      expect(await places.tickets.next("dots")).toBeGreaterThan(1n);
      await expect(places.tickets.next("late")).rejects.toMatchObject(exhausted);
    });

    test("refuses what operators get wrong, and says what to do", async () => {
      await using site = await TicketSite.of(engine, 4);
      const [one, two, copy, stranger] = site.tickets as [string, string, string, string];
      const places = await site.open([one, two]);
      await places.schema.apply();
      await places.tickets.next("dots");
      const refusal = async (tickets: readonly string[]) => {
        const process = await site.open(tickets);
        const error = await process.tickets.next("dots").catch((reason) => reason);
        return { code: error.code, message: error.message as string };
      };
      // Not all of the set.
      expect(await refusal([one])).toMatchObject({ code: "TICKET_STEP" });
      // No ticket server at all, and one that gives no ids yet: nobody has closed main's counters for nothing.
      for (const tickets of [[], [stranger]])
        expect(await refusal(tickets)).toMatchObject({
          code: "TICKETS_MOVED",
          message: expect.stringContaining("tickets block"),
        });
      // A server that is not in the set yet is only noted.
      const early = await site.open([one, two, stranger]);
      expect(await early.tickets.next("dots")).toBeGreaterThan(0n);
      expect(await early.tickets.check()).toEqual([
        { code: "TICKET_STEP", message: expect.stringContaining("tesserae tickets grow") },
      ]);
      // Another installation's.
      const other = new TicketSite([copy, stranger]);
      await using _ = other;
      const elsewhere = await other.open([stranger]);
      await elsewhere.schema.apply();
      await elsewhere.tickets.next("dots");
      expect(await refusal([one, two, stranger])).toMatchObject({ code: "TICKET_SERVER_IDENTITY" });
      const wrong = await site.open([one, two, stranger]);
      await expect(wrong.tickets.grow()).rejects.toMatchObject({ code: "TICKET_SERVER_IDENTITY" });
      await expect(wrong.schema.apply()).rejects.toMatchObject({ code: "TICKET_SERVER_IDENTITY" });
      // By hand: another step, another offset.
      const write = (value: string) =>
        site.run(two, "update tesserae_meta set value = ? where name = 'tickets'", [value]);
      const { rows } = await site.run(two, "select value from tesserae_meta where name = 'tickets'");
      const right = String(rows[0]?.["value"]);
      await write(right.replace('"step":2', '"step":3'));
      expect(await refusal([one, two])).toMatchObject({ code: "TICKET_STEP" });
      await write(right.replace('"offset":2', '"offset":1'));
      expect(await refusal([one, two])).toMatchObject({ code: "TICKET_OFFSET" });
      await write(right);
      // A copy of a server, with all it says of itself.
      for (const row of ["tickets_server", "tickets"]) {
        const said = await site.run(one, "select value from tesserae_meta where name = ?", [row]);
        const value = said.rows[0]?.["value"];
        await site.run(two, "update tesserae_meta set value = ? where name = ?", [value, row]);
      }
      expect(await refusal([one, two])).toMatchObject({
        code: "TICKET_OFFSET",
        message: expect.stringContaining("copy"),
      });
    });

    test("main's own database is no ticket server", async () => {
      await using site = await TicketSite.of(engine, 0);
      const main = engine.name === "sqlite" ? site.main.replace(/\.db$/, ".control.db") : site.main;
      await expect(site.open([main])).rejects.toMatchObject({ code: "CONFIG_SAME_DATABASE" });
    });

    test("a counter behind the ids in use is refused before the first id, until it is raised", async () => {
      await using site = await TicketSite.of(engine, 2);
      const places = await site.open(site.tickets);
      await places.schema.apply();
      await places.tenants.add(1n);
      // Even ids alone: what the first server gives was never given.
      for (const id of [2n, 400n]) await places.at(1n).insertInto("dots").values({ id }).execute();
      await places.main.insertInto("users").values({ id: 7n, name: "ada" }).execute();
      const behind = await places.tickets.next("dots").catch((error) => error);
      expect(behind).toMatchObject({
        code: "TICKET_COUNTER_BEHIND",
        message: expect.stringMatching(/would give 2 next, and 400 is in use.*tickets raise dots/s),
      });
      expect(await places.tickets.next("sheets")).toBeGreaterThan(0n);
      expect((await places.tickets.check()).map(({ code }) => code)).toEqual([
        "TICKET_COUNTER_BEHIND",
        "TICKET_COUNTER_BEHIND",
      ]);
      const raised = await places.tickets.raise("dots", { above: 400n });
      expect(raised.servers.map(({ nextId }) => nextId)).toEqual([401n, 402n]);
      expect(await places.tickets.next("dots")).toBeGreaterThan(400n);
      // Unless said, a margin above what is in use.
      await places.tickets.raise("users");
      expect(await places.tickets.next("users")).toBeGreaterThan(1_000_000n);
      expect(await places.tickets.check()).toEqual([]);
      // The second server is behind the highest id of all, and right.
      await places
        .at(1n)
        .insertInto("dots")
        .values({ id: await places.tickets.next("dots") })
        .execute();
      const next = await site.open(site.tickets);
      expect(await next.tickets.next("dots")).toBeGreaterThan(0n);
    });

    test("near the end of a sequence its counters are raised by half of what is left", async () => {
      await using site = await TicketSite.of(engine, 2);
      const options = { ticketing: { mode: "single", sequences: { dots: { max: 1_000n } } } } as const;
      const places = await site.open(site.tickets, options);
      await places.schema.apply();
      await places.tenants.add(1n);
      await places.at(1n).insertInto("dots").values({ id: 900n }).execute();
      const raised = await places.tickets.raise("dots");
      expect(raised.servers.map(({ nextId }) => nextId)).toEqual([951n, 952n]);
      expect(await places.tickets.next("dots")).toBeGreaterThan(950n);
      await expect(places.tickets.raise("dots", { above: 1_000n })).rejects.toMatchObject({
        code: "VALUE_INVALID",
        message: expect.stringMatching(/ends at 1000.*--above/),
      });
    });

    test("a server restored from an older state gives nothing twice: it is stopped until it is raised", async () => {
      await using site = await TicketSite.of(engine, 2);
      const [one] = site.tickets as [string, string];
      const options = { ticketing: { mode: "single" as const } };
      const places = await site.open(site.tickets, options);
      await places.schema.apply();
      const other = await site.open(site.tickets, options);
      const ids: bigint[] = [];
      for (let count = 0; count < 10; count++) ids.push(await places.tickets.next("dots"));
      const before = await site.run(one, "select next_id from tesserae_tickets where name = 'dots'");
      for (let count = 0; count < 20; count++) ids.push(await places.tickets.next("dots"));
      await site.run(one, "update tesserae_tickets set next_id = ? where name = 'dots'", [
        before.rows[0]?.["next_id"],
      ]);
      for (let count = 0; count < 10; count++) ids.push(await places.tickets.next("dots"));
      expect(hasDuplicates(ids)).toBe(false);
      expect(remainders(ids.slice(-8), 2)).toEqual([0]);
      // Nor to a process that cannot know.
      for (let count = 0; count < 10; count++) ids.push(await other.tickets.next("dots"));
      expect(hasDuplicates(ids)).toBe(false);
      expect((await places.tickets.check()).map(({ code }) => code)).toEqual(["TICKET_COUNTER_BEHIND"]);
      await expect(places.tickets.grow({ without: [one.split("@").at(-1) as string] })).rejects.toMatchObject(
        {
          code: "TICKET_COUNTER_BEHIND",
        },
      );
      await places.tickets.raise("dots", { above: 1_000n });
      expect(await places.tickets.check()).toEqual([]);
      await expect
        .poll(async () =>
          remainders([await places.tickets.next("dots"), await places.tickets.next("dots")], 2),
        )
        .toEqual([0, 1]);
      expect(await places.tickets.next("dots")).toBeGreaterThan(1_000n);
      expect(await places.tickets.check()).toEqual([]);
    });

    test("a server restored from before the set there is gives nothing until its sequences are raised", async () => {
      await using site = await TicketSite.of(engine, 3);
      const [one, two] = site.tickets as [string, string, string];
      const first = await site.open([one, two]);
      await first.schema.apply();
      const options = { ticketing: { mode: "single" as const } };
      const places = await site.open(site.tickets, options);
      const ids = await places.tickets.take("dots", 10);
      const before = await site.run(one, "select next_id from tesserae_tickets where name = 'dots'");
      const said = await site.run(one, "select value from tesserae_meta where name = 'tickets'");
      await places.tickets.grow();
      for (let count = 0; count < 9; count++) ids.push(await places.tickets.next("dots"));
      const sheets: bigint[] = [];
      for (let count = 0; count < 9; count++) sheets.push(await places.tickets.next("sheets"));
      await site.run(one, "delete from tesserae_tickets where name <> 'dots'");
      await site.run(one, "update tesserae_tickets set generation = 1, step = 2, next_id = ?", [
        before.rows[0]?.["next_id"],
      ]);
      await site.run(one, "update tesserae_meta set value = ? where name = 'tickets'", [
        said.rows[0]?.["value"],
      ]);
      for (let count = 0; count < 9; count++) ids.push(await places.tickets.next("dots"));
      expect(hasDuplicates(ids)).toBe(false);
      expect((await places.tickets.check()).map(({ code }) => code)).toEqual(["TICKET_COUNTER_BEHIND"]);
      await expect(
        places.tickets.grow({ without: [site.tickets[2]?.split("@").at(-1) as string] }),
      ).rejects.toMatchObject({
        code: "TICKET_COUNTER_BEHIND",
        message: expect.stringContaining("tickets raise"),
      });
      const late = await site.open(site.tickets, options);
      await expect(late.tickets.next("dots")).rejects.toMatchObject({
        code: "TICKET_COUNTER_BEHIND",
        message: expect.stringContaining("tickets raise"),
      });
      await late.tickets.raise("dots", { above: 500n });
      ids.push(
        await late.tickets.next("dots"),
        await late.tickets.next("dots"),
        await late.tickets.next("dots"),
      );
      expect(remainders(ids.slice(-3), 3)).toEqual([0, 1, 2]);
      expect(hasDuplicates(ids)).toBe(false);
      // Of what the backup does not even have nothing begins anew.
      for (let count = 0; count < 9; count++) sheets.push(await late.tickets.next("sheets"));
      expect(hasDuplicates(sheets)).toBe(false);
      for (const sequence of ["sheets", "users"]) await late.tickets.raise(sequence, { above: 500n });
      expect(await late.tickets.check()).toEqual([]);
    });
  });
});
