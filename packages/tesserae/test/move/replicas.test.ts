/** Moves between shards that have replicas: rows wait for them, the cut-over and the purge do, and a promoted replica serves what the move has done. */
import {
  freshDatabases,
  type ReplicatedDatabase,
  type ReplicatedServers,
  startReplicated,
  whyUnavailable,
} from "@tesserae/test-support";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { FederationConfig, MoveStatus } from "../../src/index.ts";
import type { MovePoint } from "../../src/move/move-points.ts";
import { type Albums, openAlbums, QUICK, type schema } from "./albums.ts";

const PATIENCE = { timeout: 30_000, interval: 10 };

/** One address for both servers of a set: whichever of them takes writes. */
function ofBoth({ urls }: ReplicatedDatabase): string {
  const [first, second] = urls.map((url) => new URL(url)) as [URL, URL];
  return first.href.replace(first.host, `${first.host},${second.host}`);
}

describe.each(["mysql", "postgres"] as const)("moves and replicas, %s", (engine) => {
  let set: ReplicatedServers;
  let main: Awaited<ReturnType<typeof freshDatabases>>;
  let source: ReplicatedDatabase;
  let target: ReplicatedDatabase;
  let albums: Albums;
  let key = 0n;

  const open = (config: Partial<FederationConfig<typeof schema>> = {}) => {
    const urls = [main.urls[0] as string, ofBoth(source), ofBoth(target)];
    const shards = {
      1: { primary: urls[1] as string, replicas: [source.urls[1] as string] },
      2: { primary: urls[2] as string, replicas: [target.urls[1] as string] },
    };
    return openAlbums(urls, { config: { shards, ...config } });
  };

  beforeAll(async () => {
    expect(whyUnavailable(engine)).toBeUndefined();
    [set, main] = await Promise.all([startReplicated(engine, { replicas: 1 }), freshDatabases(engine, 1)]);
    source = await set.freshDatabase();
    target = await set.freshDatabase();
    albums = await open();
  }, 60_000);

  afterEach(async () => {
    albums.atPoint = () => {};
    await set.replicas[0]?.startReplication().catch(() => undefined);
  });

  afterAll(async () => {
    await albums?.[Symbol.asyncDispose]();
    await main?.cleanUp();
    await set?.stop();
  });

  const replica = () => set.replicas[0] as ReplicatedServers["replicas"][number];

  /** A key with rows on shard 1. */
  async function filled(photos = 50): Promise<bigint> {
    key += 1n;
    await albums.fill(key, photos);
    await set.waitUntilCaughtUp();
    return key;
  }

  /** Stops replication when the move comes to a point, once. */
  function stopAt(point: MovePoint): void {
    albums.atPoint = async (reached) => {
      if (reached !== point) return;
      albums.atPoint = () => {};
      await replica().stopReplication();
    };
  }

  async function untilWaitsFor(fed: Albums["fed"], words: RegExp): Promise<MoveStatus> {
    const seen: MoveStatus[] = [];
    await expect
      .poll(async () => {
        const [status] = await fed.moves.list();
        if (status !== undefined) seen.push(status);
        return status?.waitsFor;
      }, PATIENCE)
      .toMatch(words);
    return seen.at(-1) as MoveStatus;
  }

  test("the cut-over waits until a replica of each shard has it, and writers do not", async () => {
    const moved = await filled();
    const before = await albums.rowsOf(moved);
    stopAt("verify:done");
    const moving = albums.fed.moves.move(moved, { to: 2, ...QUICK, pauseBudgetMs: 200 });
    const status = await untilWaitsFor(albums.fed, /the replicas of both shards catch up/);
    expect(status.step).toBe("freeze");
    await albums.fed
      .at(moved)
      .updateTable("photos")
      .set({ title: "written meanwhile" })
      .where("id", "=", 1n)
      .execute();
    expect((await albums.residences(1, moved))[0]?.state).toMatch(/leaving|frozen/);
    await replica().startReplication();
    expect(await moving).toMatchObject({ state: "done" });
    const after = await albums.rowsOf(moved);
    expect(after.photos.filter(({ id }) => id !== 1n)).toEqual(before.photos.filter(({ id }) => id !== 1n));
    expect(after.photos.find(({ id }) => id === 1n)?.title).toBe("written meanwhile");
  });

  test("the purge waits until a replica of the target has the rows", async () => {
    const moved = await filled();
    stopAt("commit:before");
    const moving = albums.fed.moves.move(moved, { to: 2, ...QUICK });
    const status = await untilWaitsFor(
      albums.fed,
      /the replicas of shard 2 to have the rows; where one has stopped/,
    );
    expect(status.step).toBe("purge");
    const rows = await albums.sql(1, `select count(*) as n from photos where owner = ${moved}`);
    expect(Number(rows[0]?.["n"])).toBe(50);
    await replica().startReplication();
    expect(await moving).toMatchObject({ state: "done" });
    const left = await albums.sql(1, `select count(*) as n from photos where owner = ${moved}`);
    expect(Number(left[0]?.["n"])).toBe(0);
  });

  test("awaitReplicas: false waits for none of it", async () => {
    const moved = await filled();
    stopAt("copy:done");
    const status = await albums.fed.moves.move(moved, { to: 2, ...QUICK, awaitReplicas: false });
    expect(status.state).toBe("done");
  });

  test("a replica that hangs is found out before the freeze, and not in the pause", async () => {
    const moved = await filled();
    // Nobody has read from these replicas: the source's are looked at for the cut-over alone.
    const own = await open();
    own.atPoint = (reached) => {
      if (reached === "verify:done") replica().pause();
    };
    try {
      const status = await own.fed.moves.move(moved, {
        to: 2,
        ...QUICK,
        pauseBudgetMs: 300,
      });
      expect(status.pauseMs).toBeLessThan(700);
    } finally {
      replica().resume();
      await own[Symbol.asyncDispose]();
      await set.waitUntilCaughtUp();
    }
  });

  test("rows wait while readers are about to lose a replica", async () => {
    const moved = await filled();
    const own = await open({ replication: { maxLagMs: 400 } });
    try {
      await replica().stopReplication();
      const moving = own.fed.moves.move(moved, { to: 2, ...QUICK });
      const outcome = moving.catch((error: unknown) => error);
      const { id, rowsCopied } = await untilWaitsFor(own.fed, /replicas of shard 2, .*where one has stopped/);
      expect(rowsCopied).toBe(0);
      // Who will not wait until it is repaired goes on without it.
      await own.fed.moves.pause(id);
      expect(await outcome).toMatchObject({ code: "MOVE_PAUSED" });
      expect(await own.fed.moves.resume(id, { awaitReplicas: false })).toMatchObject({ state: "done" });
    } finally {
      await own[Symbol.asyncDispose]();
    }
  });

  test("a replica that does not answer holds nothing up", async () => {
    const moved = await filled();
    await replica().kill();
    try {
      const status = await albums.fed.moves.move(moved, { to: 2, ...QUICK });
      expect(status.state).toBe("done");
    } finally {
      await replica().restart();
      await set.waitUntilCaughtUp();
    }
  });

  // PostgreSQL's primary goes down for a change, which takes seconds.
  const changes: readonly MovePoint[] =
    engine === "mysql"
      ? ["copy:copied", "freeze:frozen", "commit:after", "purge:batch"]
      : ["freeze:frozen", "commit:after"];

  test.each(changes)(
    "the primaries change at %s, and the move goes on with the new ones",
    async (point) => {
      const moved = await filled(200);
      const before = await albums.rowsOf(moved);
      const next = set.servers.find(({ role }) => role === "replica");
      albums.atPoint = async (reached) => {
        if (reached !== point) return;
        albums.atPoint = () => {};
        await set.switchOver(next as ReplicatedServers["primary"]);
      };
      const status = await albums.fed.moves.move(moved, { to: 2, ...QUICK });
      expect(status.state).toBe("done");
      expect(next?.role).toBe("primary");
      expect(await albums.rowsOf(moved)).toEqual(before);
      expect((await albums.residences(2, moved))[0]?.state).toBe("here");
      const left = await albums.sql(1, `select count(*) as n from photos where owner = ${moved}`);
      expect(Number(left[0]?.["n"])).toBe(0);
    },
    60_000,
  );
});
