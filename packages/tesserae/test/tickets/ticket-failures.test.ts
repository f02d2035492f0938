/** Ticket servers that are down, slow or read-only: left out, tried again, and back by themselves. Real servers that are really killed. */
import {
  type EngineName,
  freshDatabases,
  type PrivateServer,
  runAsAdmin,
  startMariaDb,
  startPostgres,
  TcpProxy,
  whyUnavailable,
} from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { until } from "./ticket-children.ts";
import { hasDuplicates, type Places, remainders, TicketSite } from "./ticket-site.ts";

/** Long enough for a machine that has much else to do. */
const TIMEOUT_MS = 1_500;

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const READ_ONLY: Record<string, readonly [on: readonly string[], off: readonly string[]]> = {
  mysql: [["set global read_only = 1"], ["set global read_only = 0"]],
  postgres: [
    ["alter system set default_transaction_read_only = on", "select pg_reload_conf()"],
    ["alter system reset default_transaction_read_only", "select pg_reload_conf()"],
  ],
};

const databaseOf = (url = ""): string => new URL(url).pathname.slice(1);

for (const engine of ["mysql", "postgres"] satisfies EngineName[]) {
  const reason = whyUnavailable(engine);
  describe.skipIf(reason !== undefined)(`ticket servers that fail, on ${engine}`, () => {
    let victim: PrivateServer;
    let proxy: TcpProxy;
    let site: TicketSite;
    let places: Places;
    let other: TcpProxy;
    let cleanUp: () => Promise<void>;
    const ids: bigint[] = [];

    beforeAll(async () => {
      victim = await (engine === "mysql" ? startMariaDb() : startPostgres());
      const [main, second] = await Promise.all([freshDatabases("sqlite", 1), freshDatabases(engine, 1)]);
      proxy = await TcpProxy.toUrl(victim.url("unused"));
      other = await TcpProxy.toUrl(second.urls[0] as string);
      const first = proxy.url(await victim.createDatabase());
      site = new TicketSite([main.urls[0] as string, first, other.url(second.urls[0] as string)]);
      places = await site.open(site.tickets, { ticketing: { mode: "single", timeoutMs: TIMEOUT_MS } });
      await places.schema.apply();
      cleanUp = async () => {
        await site[Symbol.asyncDispose]();
        await Promise.all([proxy.close(), other.close()]);
        await Promise.all([victim.stop(), main.cleanUp(), second.cleanUp()]);
      };
    });

    afterAll(() => cleanUp());

    /** Ids one by one; gives the longest time that one took. */
    const take = async (count: number): Promise<number> => {
      let longestMs = 0;
      for (let taken = 0; taken < count; taken++) {
        const begun = performance.now();
        ids.push(await places.tickets.next("dots"));
        longestMs = Math.max(longestMs, performance.now() - begun);
      }
      return longestMs;
    };
    const bothGive = async () => {
      await take(4);
      return remainders(ids.slice(-4), 2).length === 2;
    };

    test("killed: the other serves, and it is back by itself after its restart", async () => {
      await until(bothGive);
      await victim.kill();
      // Its connections were cut, and new ones are refused: nobody waits for a deadline.
      await take(20);
      expect(remainders(ids.slice(-20), 2)).toEqual([0]);
      const status = await places.tickets.status();
      expect(status.servers.map(({ state }) => state)).toEqual(["down", "open"]);
      expect(status.servers[0]?.reason).toMatch(/CONNECT_FAILED|CONNECTION_LOST/);
      await victim.restart();
      await until(bothGive);
      expect(hasDuplicates(ids)).toBe(false);
    });

    test("slow: it costs one deadline, leaks no connection, and what it did late is lost", async () => {
      await until(bothGive);
      proxy.stall();
      expect(await take(20)).toBeLessThan(TIMEOUT_MS + 1_000);
      expect(remainders(ids.slice(-18), 2)).toEqual([0]);
      // One that is tried again is tried beside the callers.
      await until(async () => (await take(1)) < TIMEOUT_MS / 3);
      proxy.heal();
      await until(bothGive);
      expect(hasDuplicates(ids)).toBe(false);
      await until(() => proxy.connections <= 4);
    });

    test("slow, with many callers at once: they queue for it no longer than one deadline", async () => {
      await until(bothGive);
      proxy.stall();
      const begun = performance.now();
      ids.push(...(await Promise.all(Array.from({ length: 200 }, () => places.tickets.next("dots")))));
      expect(performance.now() - begun).toBeLessThan(2 * TIMEOUT_MS + 1_000);
      proxy.heal();
      await until(bothGive);
      expect(hasDuplicates(ids)).toBe(false);
    });

    test("a process that was busy itself takes no server for a slow one", async () => {
      await until(bothGive);
      const taken = Array.from({ length: 8 }, () => places.tickets.next("dots"));
      await new Promise((resolve) => setImmediate(resolve));
      const begun = performance.now();
      while (performance.now() - begun < TIMEOUT_MS + 200);
      ids.push(...(await Promise.all(taken)));
      const { servers } = await places.tickets.status();
      expect(servers.map(({ state }) => state)).toEqual(["open", "open"]);
      expect(hasDuplicates(ids)).toBe(false);
    });

    test("read-only: left out, and back when it takes writes", async () => {
      await until(bothGive);
      const [on, off] = READ_ONLY[engine] as (typeof READ_ONLY)[string];
      await runAsAdmin(victim, [...on]);
      await until(async () => {
        await take(6);
        return remainders(ids.slice(-6), 2).length === 1;
      });
      // A login that may write nevertheless is told the same.
      const admin = await site.open([
        victim.adminUrl(databaseOf(site.tickets[0])),
        site.tickets[1] as string,
      ]);
      for (const each of [places, admin]) {
        expect(remainders(await each.tickets.take("dots", 3), 2)).toEqual([0]);
        const { servers } = await each.tickets.status();
        expect(servers[0]).toMatchObject({
          state: "down",
          reason: expect.stringContaining("SERVER_READ_ONLY"),
        });
      }
      await expect(places.tickets.grow({ without: [`:${proxy.port}`] })).rejects.toMatchObject({
        code: "TICKETS_UNAVAILABLE",
        message: expect.stringContaining("Nothing was changed"),
      });
      await runAsAdmin(victim, [...off]);
      await until(bothGive);
      expect(hasDuplicates(ids)).toBe(false);
    });

    test("all down: an error that names each, no row, and ids again when one is back", async () => {
      await until(bothGive);
      await places.tenants.add(1n);
      proxy.stall();
      other.refuse();
      other.drop();
      const insert = async () =>
        places
          .at(1n)
          .insertInto("dots")
          .values({ id: await places.tickets.next("dots") })
          .execute();
      for (let attempt = 0; attempt < 2; attempt++)
        await expect(insert()).rejects.toMatchObject({
          code: "TICKETS_UNAVAILABLE",
          retryable: true,
          message: expect.stringMatching(
            new RegExp(`:${proxy.port}/.*did not answer.*:${other.port}/.*CONNECT`),
          ),
        });
      expect(await places.at(1n).selectFrom("dots").selectAll().execute()).toEqual([]);
      const begun = performance.now();
      await expect(insert()).rejects.toMatchObject({ code: "TICKETS_UNAVAILABLE" });
      expect(performance.now() - begun).toBeLessThan(2 * TIMEOUT_MS + 500);
      other.heal();
      await until(
        () =>
          insert().then(
            () => true,
            () => false,
          ),
        5_000,
      );
      proxy.heal();
      await until(bothGive);
      expect(hasDuplicates(ids)).toBe(false);
    });

    test("a process that gives from blocks notices nothing but an error to come", async () => {
      const blocks = await site.open(site.tickets, { ticketing: { blockIds: 50, timeoutMs: TIMEOUT_MS } });
      const given: bigint[] = await blocks.tickets.take("dots", 10);
      await victim.kill();
      for (let count = 0; count < 500; count++) given.push(await blocks.tickets.next("dots"));
      expect(hasDuplicates([...ids, ...given])).toBe(false);
      await victim.restart();
    });

    test("main down: a process that has begun goes on, also with a sequence that is new to it", async () => {
      await using databases = await freshDatabases(engine, 2);
      const [main, server] = databases.urls as [string, string];
      await using way = await TcpProxy.toUrl(main);
      await using elsewhere = new TicketSite([way.url(main), server]);
      const begun = await elsewhere.open(elsewhere.tickets, { ticketing: { mode: "single" } });
      await begun.schema.apply();
      const given = [await begun.tickets.next("dots")];
      way.refuse();
      way.drop();
      for (let count = 0; count < 5; count++) given.push(await begun.tickets.next("dots"));
      expect(hasDuplicates(given)).toBe(false);
      expect(await begun.tickets.next("sheets")).toBeGreaterThan(0n);
      const late = await elsewhere.open(elsewhere.tickets);
      await expect(late.tickets.next("dots")).rejects.toMatchObject({ code: "CONNECT_FAILED" });
      way.heal();
      expect(await late.tickets.next("dots")).toBeGreaterThan(0n);
    });
  });
}
