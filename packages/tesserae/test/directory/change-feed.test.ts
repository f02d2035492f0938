import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { ChangeFeed, type FeedEntry } from "../../src/directory/change-feed.ts";
import { ControlStore } from "../../src/engine/control-store.ts";
import { Installation } from "./installation.ts";

const LEASE_MS = 1_000;

forEachEngine((engine) => {
  describe(`the change feed on ${engine.name}`, () => {
    test("a poller misses no entry of writers that commit at the same time, and sees each once, in order", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls);
      await here.create();
      await using other = await Installation.at(databases.urls);
      const seen: string[] = [];
      here.feed.listen("default", {
        changed: ({ low }) => void seen.push(low),
        reset: () => seen.push("reset"),
      });
      await here.feed.poll();
      let writing = true;
      const poller = (async () => {
        while (writing) await here.feed.poll();
        await here.feed.poll();
      })();
      const write = async (from: Installation, writer: number) => {
        for (let i = 0; i < 20; i++) {
          await from.control.transaction((transaction) =>
            from.feed.append(transaction, {
              federation: "default",
              kind: "p",
              low: String(writer * 1000 + i),
            }),
          );
        }
      };
      await Promise.all([write(here, 1), write(here, 2), write(other, 3), write(other, 4)]);
      writing = false;
      await poller;
      expect(seen.toSorted()).toEqual(
        [1, 2, 3, 4]
          .flatMap((writer) => Array.from({ length: 20 }, (_, i) => String(writer * 1000 + i)))
          .toSorted(),
      );
      for (const writer of ["1", "2", "3", "4"]) {
        const own = seen.filter((low) => low.startsWith(writer));
        expect(own).toEqual(own.toSorted());
      }
    });

    test("a rolled back entry leaves no gap", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls);
      await here.create();
      const feed = await watch(here);
      await expect(
        here.control.transaction(async (transaction) => {
          await here.feed.append(transaction, { federation: "default", kind: "p", low: "lost" });
          throw new Error("no");
        }),
      ).rejects.toThrow("no");
      await append(here, "kept");
      await feed.feed.poll();
      expect(feed.seen).toEqual(["kept"]);
    });

    test("whoever was away longer than entries are kept clears its caches, and so does one whose main was restored", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls);
      await here.create();
      for (const low of ["1", "2"]) await append(here, low);
      const late = await watch(here);
      await late.feed.poll();
      expect(late.seen).toEqual([]);
      for (const low of ["3", "4", "5"]) await append(here, low);
      await here.control.run("delete from tesserae_feed where number < 4", []);
      await late.feed.poll();
      expect(late.seen).toEqual(["reset"]);
      await append(here, "6");
      await late.feed.poll();
      expect(late.seen).toEqual(["reset", "6"]);
      await here.control.run("delete from tesserae_feed where number > 4", []);
      await late.feed.poll();
      expect(late.seen).toEqual(["reset", "6", "reset"]);
    });

    test("old entries are pruned, the newest stays", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls, { now: () => Date.now() - 3_600_000 });
      await here.create();
      for (let i = 1; i <= 63; i++) await append(here, String(i));
      const now = new ChangeFeed({ control: here.control });
      await here.control.transaction((transaction) =>
        now.append(transaction, { federation: "default", kind: "p", low: "64" }),
      );
      const { rows } = await here.control.run("select low from tesserae_feed", []);
      expect(rows.map((row) => row["low"])).toEqual(["64"]);
    });
  });
});

describe("the lease", () => {
  forEachEngine((engine) => {
    if (engine.name !== "sqlite") return;

    test("is counted from the start of the last good poll; past half of it a poll runs beside the callers", async () => {
      await using databases = await engine.databases(1);
      let now = 1_000_000;
      await using here = await Installation.at(databases.urls, { leaseMs: LEASE_MS, now: () => now });
      await here.create();
      await here.tenants.add(1n, { shard: 1 }).catch(() => undefined);
      expect(here.feed.good()).toBe(false);
      await here.feed.renew();
      expect(here.feed.polls).toBe(1);
      now += LEASE_MS / 2;
      expect(here.feed.good()).toBe(true);
      await settle();
      expect(here.feed.polls).toBe(1);
      now += 1;
      expect(here.feed.good()).toBe(true);
      await settle();
      expect(here.feed.polls).toBe(2);
      now += LEASE_MS + 1;
      expect(here.feed.good()).toBe(false);
      // The clock of the wall went back: nobody knows how old the poll is.
      await here.feed.renew();
      now -= 10_000;
      expect(here.feed.good()).toBe(false);
    });

    test("a slow poll's lease runs from its start", async () => {
      await using databases = await engine.databases(1);
      let now = 1_000_000;
      await using here = await Installation.at(databases.urls);
      await here.create();
      const store = new PausedStore(here.main);
      const feed = new ChangeFeed({ control: store, leaseMs: LEASE_MS, now: () => now });
      const poll = feed.poll();
      now += LEASE_MS - 1;
      store.go();
      await poll;
      now += 2;
      expect(feed.good()).toBe(false);
    });

    test("a poll that fails by the way is nobody's error; past the lease it is the caller's", async () => {
      await using databases = await engine.databases(1);
      let now = 1_000_000;
      await using here = await Installation.at(databases.urls);
      await here.create();
      const feed = new ChangeFeed({ control: here.control, leaseMs: LEASE_MS, now: () => now });
      await feed.poll();
      await here.control.run("alter table tesserae_feed rename to elsewhere", []);
      now += LEASE_MS * 0.6;
      expect(feed.good()).toBe(true);
      await settle();
      now += LEASE_MS;
      expect(feed.good()).toBe(false);
      await expect(feed.renew()).rejects.toMatchObject({ name: "TesseraeError" });
      await here.control.run("alter table elsewhere rename to tesserae_feed", []);
      await feed.renew();
      expect(feed.good()).toBe(true);
    });
  });
});

class PausedStore extends ControlStore {
  readonly #gate = Promise.withResolvers<void>();

  go(): void {
    this.#gate.resolve();
  }

  override async read(sql: string, parameters: readonly unknown[]) {
    await this.#gate.promise;
    return super.read(sql, parameters);
  }
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

async function append(here: Installation, low: string): Promise<void> {
  await here.control.transaction((transaction) =>
    here.feed.append(transaction, { federation: "default", kind: "p", low }),
  );
}

async function watch(here: Installation): Promise<{ readonly feed: ChangeFeed; readonly seen: string[] }> {
  const feed = new ChangeFeed({ control: here.control });
  const seen: string[] = [];
  feed.listen("default", {
    changed: (entry: FeedEntry) => void seen.push(entry.low),
    reset: () => void seen.push("reset"),
  });
  await feed.poll();
  return { feed, seen };
}
