/** Databases that were restored from a backup, or lost their last writes in a failover: main, and ticket servers while processes run. */
import {
  type EngineName,
  forEachEngine,
  freshDatabases,
  TcpProxy,
  whyUnavailable,
} from "@tesserae/test-support";
import { describe, expect, test, vi } from "vitest";
import { hasDuplicates, type Places, remainders, TicketSite } from "./ticket-site.ts";

vi.setConfig({ testTimeout: 120_000 });

const SINGLE = { ticketing: { mode: "single" as const }, internals: { patienceMs: 0 } };

const take = async (places: Places, count: number): Promise<bigint[]> => {
  const ids: bigint[] = [];
  for (let taken = 0; taken < count; taken++) ids.push(await places.tickets.next("dots"));
  return ids;
};

const REFUSED = { code: "TICKET_SET_BEHIND", message: expect.stringContaining("tesserae tickets recover") };

forEachEngine((engine) => {
  describe(`restored databases on ${engine.name}`, () => {
    test("main as it was before the ticket servers: nobody is given its ids, until it knows them again", async () => {
      await using site = await TicketSite.of(engine, 2);
      const poor = await site.open([], SINGLE);
      await poor.schema.apply();
      const ids = await take(poor, 3);
      // It began with main's ids, and asks for none while the servers take over.
      const idle = await site.open(site.tickets, SINGLE);
      ids.push(...(await take(idle, 1)));
      const restore = await site.backup(site.main);
      const running = await site.open(site.tickets, SINGLE);
      await running.tickets.grow();
      ids.push(...(await take(running, 6)));
      await restore();
      const late = await site.open(site.tickets, SINGLE);
      for (const process of [late, idle]) await expect(take(process, 1)).rejects.toMatchObject(REFUSED);
      await expect(late.tickets.raise("dots")).rejects.toMatchObject(REFUSED);
      await expect(late.tickets.grow()).rejects.toMatchObject(REFUSED);
      expect(await late.tickets.check()).toMatchObject([REFUSED, REFUSED]);
      ids.push(...(await take(running, 2)));
      const some = await site.open(site.tickets.slice(0, 1), SINGLE);
      await expect(some.tickets.recover()).rejects.toMatchObject({
        code: "TICKET_SET_BEHIND",
        message: expect.stringContaining("1 of 2"),
      });
      // Who knows no ticket servers has main's ids until then, and no id of anybody's afterwards.
      await take(poor, 20);
      const poorIds = await take(poor, 1);
      expect(await late.tickets.recover()).toEqual({ generation: 1, servers: 2, changed: true });
      expect(await late.tickets.recover()).toEqual({ generation: 1, servers: 2, changed: false });
      await expect(take(poor, 1)).rejects.toMatchObject({ code: "TICKETS_MOVED" });
      for (const process of [late, idle, running]) ids.push(...(await take(process, 4)));
      expect(hasDuplicates([...ids, ...poorIds])).toBe(false);
      expect(await late.tickets.check()).toEqual([]);
      expect(await late.tickets.grow()).toMatchObject({ generation: 1, changed: false });
    });

    test("main as it was before a third server: the same, whatever was under way", async () => {
      await using site = await TicketSite.of(engine, 3);
      const two = await site.open(site.tickets.slice(0, 2), SINGLE);
      await two.schema.apply();
      const ids = await take(two, 4);
      const restore = await site.backup(site.main);
      const three = await site.open(site.tickets, SINGLE);
      await three.tickets.grow();
      ids.push(...(await take(three, 6)));
      await restore();
      const known = await site.open(site.tickets.slice(0, 2), SINGLE);
      await expect(take(known, 1)).rejects.toMatchObject(REFUSED);
      await expect(known.tickets.recover()).rejects.toMatchObject({
        message: expect.stringContaining("2 of 3"),
      });
      ids.push(...(await take(three, 3)));
      // A change that was begun when main was lost, and had closed one of the servers.
      const late = await site.open(site.tickets, SINGLE);
      await site.run(
        site.tickets[2] as string,
        "update tesserae_meta set value = replace(value, '\"open\"', '\"closed\"') where name = 'tickets'",
      );
      expect(await late.tickets.recover()).toEqual({ generation: 2, servers: 3, changed: true });
      expect((await late.tickets.status()).servers.map(({ state }) => state)).toEqual([
        "open",
        "open",
        "open",
      ]);
      ids.push(...(await take(late, 6)));
      expect(hasDuplicates(ids)).toBe(false);
      expect(await late.tickets.check()).toEqual([]);
      const { generation } = await late.tickets.grow({
        without: [(await late.tickets.status()).servers[2]?.address as string],
      });
      expect(generation).toBeGreaterThan(3);
      expect(hasDuplicates([...ids, ...(await take(late, 6))])).toBe(false);
    });

    test("an empty database takes the place of a server that is lost, and gives what is raised", async () => {
      await using site = await TicketSite.of(engine, 3);
      const [one, two, empty] = site.tickets as [string, string, string];
      const before = await site.open([one, two], SINGLE);
      await before.schema.apply();
      const ids = await take(before, 8);
      const late = await site.open([one, empty], SINGLE);
      await expect(take(late, 1)).rejects.toMatchObject({
        code: "TICKET_STEP",
        message: expect.stringContaining("tickets replace"),
      });
      const [kept, added] = (await late.tickets.status()).servers.map(({ address }) => address);
      await expect(late.tickets.replace(kept as string)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
      const all = await site.open(site.tickets);
      await expect(all.tickets.replace(added as string)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
      expect(await late.tickets.replace(added as string)).toEqual({ address: added, offset: 2, step: 2 });
      await expect(take(late, 1)).rejects.toMatchObject({
        code: "TICKET_COUNTER_BEHIND",
        message: expect.stringContaining("tickets raise"),
      });
      await late.tickets.raise("dots", { above: 1_000n });
      const raised = await take(late, 6);
      expect(remainders(raised, 2)).toEqual([0, 1]);
      expect(hasDuplicates([...ids, ...raised])).toBe(false);
      // Of what was not raised only the other server gives.
      for (let count = 0; count < 4; count++) expect((await late.tickets.next("sheets")) % 2n).toBe(1n);
      for (const sequence of ["sheets", "users"]) await late.tickets.raise(sequence, { above: 1_000n });
      expect(await late.tickets.check()).toEqual([]);
    });

    test("a server as it was in a set before, under a process that knows only that set", async () => {
      await using site = await TicketSite.of(engine, 3);
      const [one] = site.tickets as [string];
      const sleeper = await site.open(site.tickets, SINGLE);
      const two = await site.open(site.tickets.slice(0, 2), SINGLE);
      await two.schema.apply();
      // The next that it asks is the second server.
      const ids = await take(sleeper, 4);
      const restore = await site.backup(one);
      ids.push(...(await take(two, 20)));
      const three = await site.open(site.tickets, SINGLE);
      await three.tickets.grow();
      await restore();
      ids.push(...(await take(sleeper, 10)));
      expect(hasDuplicates(ids)).toBe(false);
    });
  });
});

for (const engine of ["mysql", "postgres"] satisfies EngineName[]) {
  describe.skipIf(whyUnavailable(engine) !== undefined)(
    `a server restored under processes, on ${engine}`,
    () => {
      test("a restored one is found by one that never had its later ids, and by one that began without it", async () => {
        await using databases = await freshDatabases(engine, 3);
        const [main, first, second] = databases.urls as [string, string, string];
        await using way = await TcpProxy.toUrl(first);
        await using site = new TicketSite([main, way.url(first), second]);
        const idle = await site.open(site.tickets, SINGLE);
        await idle.schema.apply();
        await idle.tenants.add(1n);
        const ids = await take(idle, 4);
        const restore = await site.backup(first);
        const busy = await site.open(site.tickets, SINGLE);
        const used = await take(busy, 10);
        for (const id of used) await busy.at(1n).insertInto("dots").values({ id }).execute();
        ids.push(...used);
        way.refuse();
        way.drop();
        const begun = await site.open(site.tickets, SINGLE);
        ids.push(...(await take(begun, 2)));
        await restore();
        way.heal();
        ids.push(...(await take(idle, 6)));
        expect(hasDuplicates(ids)).toBe(false);
        await expect
          .poll(async () => {
            ids.push(...(await take(begun, 1)));
            return (await begun.tickets.status()).servers[0]?.state;
          })
          .toBe("open");
        for (const process of [begun, idle, busy]) ids.push(...(await take(process, 6)));
        expect(hasDuplicates(ids)).toBe(false);
        expect((await begun.tickets.check()).map(({ code }) => code)).toEqual(["TICKET_COUNTER_BEHIND"]);
      });

      test("an id waits for a change no longer than it says, also when a server hangs", async () => {
        await using databases = await freshDatabases(engine, 4);
        const [main, one, two, three] = databases.urls as [string, string, string, string];
        await using way = await TcpProxy.toUrl(two);
        await using site = new TicketSite([main, one, two, three]);
        const places = await site.open([one, two], SINGLE);
        await places.schema.apply();
        const waiting = await site.open([one, way.url(two), three], {
          ticketing: { mode: "single", timeoutMs: 200 },
          internals: { patienceMs: 20, growthWaitMs: 1_000 },
        });
        await take(waiting, 2);
        const fenced = Promise.withResolvers<void>();
        const goOn = Promise.withResolvers<void>();
        const grower = await site.open(site.tickets, {
          internals: {
            async at(point) {
              if (point !== "fence:server") return;
              fenced.resolve();
              await goOn.promise;
            },
          },
        });
        const growing = grower.tickets.grow().catch((error) => error);
        await fenced.promise;
        way.stall();
        const begun = performance.now();
        await expect(take(waiting, 1)).rejects.toMatchObject({ code: "TICKETS_UNAVAILABLE" });
        // An operator's command, which the taking up of a growth is, waits ten seconds for a server.
        expect(performance.now() - begun).toBeLessThan(6_000);
        way.heal();
        goOn.resolve();
        await growing;
        expect((await take(waiting, 1)).length).toBe(1);
      });

      test("a process that starts while a growth passes by is refused nothing", async () => {
        await using databases = await freshDatabases(engine, 4);
        const [main, one, two, three] = databases.urls as [string, string, string, string];
        await using way = await TcpProxy.toUrl(three);
        await using site = new TicketSite([main, one, two, three]);
        const places = await site.open([one, two], SINGLE);
        await places.schema.apply();
        const ids = await take(places, 2);
        const restoreMain = await site.backup(main);
        way.stall();
        const starter = await site.open([one, two, way.url(three)], {
          ticketing: { mode: "single", timeoutMs: 60_000 },
        });
        const taken = take(starter, 1);
        // It has read main, and asks the server who it is.
        await expect.poll(() => way.connections, { timeout: 10_000 }).toBeGreaterThan(0);
        await (await site.open(site.tickets)).tickets.grow();
        way.heal();
        ids.push(...(await taken), ...(await take(starter, 5)), ...(await take(places, 5)));
        // Nor when main forgets it, and a server was away.
        await restoreMain();
        way.drop();
        const later = await take(starter, 6);
        expect(remainders(later, 3)).toEqual([0, 1, 2]);
        ids.push(...later);
        expect(hasDuplicates(ids)).toBe(false);
      });
    },
  );
}
