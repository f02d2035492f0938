/** Changes of the ticket servers: while applications take ids, cut off at each point, and by processes that sleep through them. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test, vi } from "vitest";
import type { TicketPoint } from "../../src/tickets/ticket-points.ts";
import { firstDuplicate, IdFiles, startTicketWork, until } from "./ticket-children.ts";
import { hasDuplicates, type Places, TicketSite } from "./ticket-site.ts";

const FORWARD: TicketPoint[] = [
  "prepared",
  "recorded",
  "fence:server",
  "fenced",
  "floors",
  "open:server",
  "opened",
  "done",
];
/** The points between which something is half done. At the others the last test stops, in this process. */
const KILLED: TicketPoint[] = ["fence:server", "floors", "open:server"];
const BACK = ["abort:recorded", "abort:server", "aborted"] as const;
const PATIENT = { internals: { patienceMs: 20 } };

/** A server's address as an operator names it. */
const named = (places: Places, index: number): Promise<string> =>
  places.tickets.status().then(({ servers }) => servers[index]?.address as string);

// Processes take their time to start on a machine that has much else to do.
vi.setConfig({ testTimeout: 180_000 });

forEachEngine((engine) => {
  describe(`a change of ticket servers on ${engine.name}`, () => {
    test("from main to two, and to three, while processes take ids; one sleeps through it, one never hears of it", async () => {
      await using site = await TicketSite.of(engine, 3);
      const files = new IdFiles();
      const poor = await site.open([]);
      await poor.schema.apply();
      await poor.tickets.next("sheets");
      const take = (tickets: readonly string[], ticketing = {}) => {
        const file = files.add();
        const work = { file, count: 7, pauseMs: 1, ticketing: { blockIds: 20, ...ticketing } };
        return { file, ...startTicketWork({ main: site.main, tickets, take: work }) };
      };
      const counted = ({ file }: { file: string }) => files.ids([file]).length;
      const goesOn = async (...children: { file: string }[]) => {
        const before = children.map(counted);
        await until(() => children.every((child, index) => counted(child) > (before[index] as number) + 100));
      };
      const blocks = take(site.tickets);
      const single = take(site.tickets, { mode: "single" });
      const sleeper = take(site.tickets);
      const twoKnown = take(site.tickets.slice(0, 2));
      const forgotten = take([]);
      await goesOn(blocks, single, sleeper, twoKnown, forgotten);
      sleeper.process.kill("SIGSTOP");
      const two = await site.open(site.tickets.slice(0, 2));
      expect(await two.tickets.grow()).toEqual({ generation: 1, servers: 2, changed: true });
      expect(await two.tickets.grow()).toEqual({ generation: 1, servers: 2, changed: false });
      await goesOn(blocks, single, twoKnown);
      expect(await forgotten.ended).toMatchObject({ code: 3 });
      expect(forgotten.output()).toContain("TICKETS_MOVED");
      await expect(poor.tickets.take("sheets", 5_000)).rejects.toMatchObject({ code: "TICKETS_MOVED" });
      sleeper.process.kill("SIGCONT");
      await goesOn(sleeper);
      sleeper.process.kill("SIGSTOP");
      const three = await site.open(site.tickets);
      expect(await three.tickets.grow()).toEqual({ generation: 2, servers: 3, changed: true });
      await goesOn(blocks, single);
      // It began with two of the three, which go on giving their own ids.
      await goesOn(twoKnown);
      sleeper.process.kill("SIGCONT");
      await goesOn(sleeper);
      expect(await three.tickets.grow({ without: [await named(three, 0)] })).toMatchObject({ servers: 2 });
      await goesOn(blocks, single, sleeper);
      for (const child of [blocks, single, sleeper, twoKnown]) child.process.kill("SIGKILL");
      await Promise.all([blocks, single, sleeper, twoKnown].map(({ ended }) => ended));
      const ids = files.ids();
      expect(ids.length).toBeGreaterThan(1_000);
      expect(firstDuplicate(ids)).toBeUndefined();
      expect(await three.tickets.next("sheets")).toBeGreaterThan(1n);
    });

    test("cut off at each point by the end of the process: another finishes, and no id is given twice", async () => {
      await using site = await TicketSite.of(engine, 3);
      const ids: bigint[] = [];
      const poor = await site.open([], { ticketing: { blockIds: 5 } });
      await poor.schema.apply();
      ids.push(...(await poor.tickets.take("dots", 12)));
      const running = await site.open(site.tickets, { ...PATIENT, ticketing: { blockIds: 3 } });
      ids.push(...(await running.tickets.take("dots", 12)));
      let servers = 0;
      for (const point of KILLED) {
        // To three servers, and back to two.
        const without = servers === 3 ? [await named(running, 2)] : [];
        const child = startTicketWork({
          main: site.main,
          tickets: site.tickets,
          grow: { without, point, signal: "SIGKILL" },
        });
        expect(await child.ended).toMatchObject({ signal: "SIGKILL" });
        // Nobody is needed for the ids to come again.
        ids.push(...(await running.tickets.take("dots", 10)));
        await running.tickets.grow({ without });
        servers = servers === 3 ? 2 : 3;
        expect(await running.tickets.status()).toMatchObject({ growing: undefined });
        ids.push(...(await running.tickets.take("dots", 10)));
        expect(hasDuplicates(ids)).toBe(false);
      }
      expect((await running.tickets.check()).map(({ code }) => code)).toEqual(
        servers === 3 ? [] : ["TICKET_STEP"],
      );
    });

    test("a change that cannot go on turns back, also when that is cut off, and ids come from the servers of before", async () => {
      await using site = await TicketSite.of(engine, 3);
      const two = await site.open(site.tickets.slice(0, 2), PATIENT);
      await two.schema.apply();
      const running = await site.open(site.tickets, { ...PATIENT, ticketing: { mode: "single" } });
      const ids: bigint[] = [await running.tickets.next("dots"), await running.tickets.next("dots")];
      const spoil = site.tickets[1] as string;
      let above = 100n;
      for (const point of engine.name === "sqlite" ? BACK : (["abort:server"] as const)) {
        const child = startTicketWork({
          main: site.main,
          tickets: site.tickets,
          grow: { point, signal: "SIGKILL", spoil },
        });
        const { signal } = await child.ended;
        expect(signal, child.output()).toBe("SIGKILL");
        for (let count = 0; count < 4; count++) ids.push(await running.tickets.next("dots"));
        await running.tickets
          .grow()
          .catch((error) => expect(error).toMatchObject({ code: "TICKET_COUNTER_BEHIND" }));
        expect(await running.tickets.status()).toMatchObject({ generation: 1, growing: undefined });
        await running.tickets.raise("dots", { above });
        above += 100n;
        for (let count = 0; count < 4; count++) ids.push(await running.tickets.next("dots"));
      }
      expect(hasDuplicates(ids)).toBe(false);
      expect(await running.tickets.grow()).toMatchObject({ servers: 3, changed: true });
      for (let count = 0; count < 6; count++) ids.push(await running.tickets.next("dots"));
      expect(hasDuplicates(ids)).toBe(false);
    });

    test("who sleeps at any point, and wakes up when others have gone on, changes nothing", async () => {
      await using site = await TicketSite.of(engine, 3);
      const first = await site.open(site.tickets.slice(0, 2));
      await first.schema.apply();
      const running = await site.open(site.tickets, { ...PATIENT, ticketing: { blockIds: 3 } });
      const ids = await running.tickets.take("dots", 10);
      for (const point of FORWARD) {
        const reached = Promise.withResolvers<void>();
        const awake = Promise.withResolvers<void>();
        const sleeper = await site.open(site.tickets, {
          internals: {
            async at(now) {
              if (now !== point) return;
              reached.resolve();
              await awake.promise;
            },
          },
        });
        const sleeping = sleeper.tickets.grow().catch((error: unknown) => error);
        await reached.promise;
        // Others finish it, and go back to two.
        await running.tickets.grow();
        ids.push(...(await running.tickets.take("dots", 10)));
        await running.tickets.grow({ without: [await named(running, 2)] });
        ids.push(...(await running.tickets.take("dots", 10)));
        const before = await running.tickets.status();
        awake.resolve();
        await sleeping;
        const after = await running.tickets.status();
        // Whoever wakes up before he recorded anything begins anew, as anybody may.
        if (point === "prepared") await running.tickets.grow({ without: [await named(running, 2)] });
        else expect(after.generation).toBe(before.generation);
        ids.push(...(await running.tickets.take("dots", 30)));
        expect(hasDuplicates(ids)).toBe(false);
        await sleeper.close();
      }
    });

    test("a sequence that is first used behind the fence begins in the new set alone", async () => {
      await using site = await TicketSite.of(engine, 2);
      const two = await site.open(site.tickets);
      await two.schema.apply();
      const reached = Promise.withResolvers<void>();
      const goOn = Promise.withResolvers<void>();
      const grower = await site.open(site.tickets, {
        internals: {
          async at(point) {
            if (point !== "fenced") return;
            reached.resolve();
            await goOn.promise;
          },
        },
      });
      // It knows of a sequence that the grower does not.
      const ticketing = { mode: "single" as const, sequences: { late: {} } };
      const other = await site.open(site.tickets, { ticketing, internals: { patienceMs: 600_000 } });
      await other.tickets.next("dots");
      const growing = grower.tickets.grow({ without: [await named(grower, 1)] });
      await reached.promise;
      const waiting = Array.from({ length: 6 }, () => other.tickets.next("late"));
      const first = await Promise.race([
        ...waiting,
        other.tickets.status().then(({ growing: phase }) => phase),
      ]);
      expect(first).toBe("fencing");
      goOn.resolve();
      await growing;
      const ids = await Promise.all(waiting);
      for (let count = 0; count < 6; count++) ids.push(await other.tickets.next("late"));
      expect(ids.toSorted((a, b) => Number(a - b))).toEqual(
        Array.from({ length: 12 }, (_, i) => BigInt(i + 1)),
      );
    });
  });
});
