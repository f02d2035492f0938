/** Additions and removals that are cut off at each step: by the end of the process, and by its long sleep. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, onTestFinished, test } from "vitest";
import { DirectoryRows } from "../../src/directory/directory-rows.ts";
import { KeyCodec } from "../../src/directory/key-codec.ts";
import { ResidenceRows } from "../../src/directory/residence-rows.ts";
import type { MachinePoint } from "../../src/directory/tenant-machine.ts";
import type { Database } from "../../src/engine/contract.ts";
import { ControlStore } from "../../src/engine/control-store.ts";
import { Installation } from "./installation.ts";
import type { ChildWork } from "./tenant-work.child.ts";

const ADD_POINTS: MachinePoint[] = ["admitting:claimed", "admitting:residence", "admitting:active"];
const REMOVE_POINTS: MachinePoint[] = [
  "removing:claimed",
  "removing:gone",
  "purging:claimed",
  "purging:batch",
  "purging:empty",
  "purging:removed",
];
const TURN_BACK_POINTS: MachinePoint[] = ["removing:thawed", "removing:active"];

const cases: [ChildWork["work"], MachinePoint][] = [
  ...ADD_POINTS.map((point) => ["add", point] as [ChildWork["work"], MachinePoint]),
  ...REMOVE_POINTS.map((point) => ["remove", point] as [ChildWork["work"], MachinePoint]),
  ...TURN_BACK_POINTS.map((point) => ["removeEmpty", point] as [ChildWork["work"], MachinePoint]),
];

function startChild(work: ChildWork) {
  return spawn(
    process.execPath,
    [
      "--conditions=tesserae-source",
      "--disable-warning=ExperimentalWarning",
      join(import.meta.dirname, "tenant-work.child.ts"),
      JSON.stringify(work),
    ],
    {
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
}

/** A key with the rows that the case wants. */
async function prepare(here: Installation, work: ChildWork["work"], key: bigint): Promise<void> {
  if (work === "add") return;
  await here.tenants.add(key, { shard: 1 });
  if (work === "removeEmpty") return;
  for (let id = 1; id <= 5; id++) await here.addNote(1, key, id);
}

/** What main and each shard say of a key. */
async function readAll(here: Installation, key: bigint) {
  const row = await new DirectoryRows(here.control, here.federation).find(here.control, "p", key);
  const residences = await Promise.all(
    [...here.shards].map(async ([shard, database]) => {
      const rows = new ResidenceRows(
        shard,
        new ControlStore(database as Database),
        here.federation,
        new KeyCodec(here.federation),
      );
      const residence = await rows.find("p", key);
      const notes = await here.onShard(shard, "select id from notes where owner = ? order by id", [key]);
      return residence === undefined
        ? { notes: notes.rows.length }
        : {
            state: residence.state,
            epoch: residence.epoch,
            token: residence.token,
            notes: notes.rows.length,
          };
    }),
  );
  return { state: row?.state, shard: row?.shard, epoch: row?.epoch, token: row?.token, residences };
}

/** Main and the shards agree, and the key is where `state` says. */
async function expectRest(here: Installation, key: bigint, state: "active" | "removed"): Promise<void> {
  const found = await readAll(here, key);
  expect(found.state).toBe(state);
  for (const [index, residence] of found.residences.entries()) {
    const live = state === "active" && index + 1 === found.shard;
    if (live) expect(residence).toMatchObject({ state: "here", epoch: found.epoch });
    else expect(residence.state ?? "gone").toBe("gone");
    if (!live) expect(residence.notes).toBe(0);
  }
}

forEachEngine((engine) => {
  describe(`cut off by the end of the process, on ${engine.name}`, () => {
    test.each(cases)("%s, at %s: another process finishes", async (work, point) => {
      await using databases = await engine.databases(3, { servers: 2 });
      await using here = await Installation.at(databases.urls, { takeOverMs: 30 });
      await here.create();
      for (const key of [1n, 2n]) await prepare(here, work, key);
      const child = startChild({ urls: databases.urls, work, keys: ["1", "2"], point, signal: "SIGKILL" });
      expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
      // Key 1 by the sweep, key 2 by whoever comes and asks for the same.
      const second =
        work === "add"
          ? here.tenants.add(2n)
          : here.tenants.remove(2n, { rows: work === "remove" ? "delete" : "refuse" });
      if (work === "removeEmpty") await expect(second).rejects.toMatchObject({ code: "TENANT_NOT_EMPTY" });
      else await second;
      await here.tenants.resume({ olderThanMs: -60_000 });
      for (const key of [1n, 2n]) {
        // Until rows begin to be deleted, a removal that nobody asks for any more turns back.
        const turnedBack =
          key === 1n && work === "remove" && (point === "removing:claimed" || point === "removing:gone");
        await expectRest(here, key, work === "remove" && !turnedBack ? "removed" : "active");
        if (turnedBack) expect((await readAll(here, key)).residences[0]?.notes).toBe(5);
      }
      expect(await here.tenants.resume({ olderThanMs: -60_000 })).toBe(0);
    });
  });

  describe(`cut off by a long sleep, on ${engine.name}`, () => {
    test.each(cases)("%s, at %s: what wakes up changes nothing", async (work, point) => {
      await using databases = await engine.databases(3, { servers: 2 });
      const reached = Promise.withResolvers<void>();
      const awake = Promise.withResolvers<void>();
      await using sleeper: Installation = await Installation.at(databases.urls, {
        purgeBatchRows: 2,
        async at(now) {
          if (work === "removeEmpty" && now === "removing:claimed") await sleeper.addNote(1, 1n, 1);
          if (now !== point) return;
          reached.resolve();
          await awake.promise;
        },
      });
      await using here = await Installation.at(databases.urls, { takeOverMs: 30 });
      await here.create();
      await prepare(here, work, 1n);
      const sleeping = (
        work === "add"
          ? sleeper.tenants.add(1n, { shard: 1 })
          : sleeper.tenants.remove(1n, { rows: work === "remove" ? "delete" : "refuse" })
      ).then(
        () => "done",
        (error) => error.code as string,
      );
      await reached.promise;
      // Another process finishes, takes the key out, and brings it back on the other shard, with a row.
      await here.tenants.remove(1n, { rows: "delete" });
      await here.tenants.add(1n, { shard: 2 });
      await here.addNote(2, 1n, 77);
      const before = await readAll(here, 1n);
      expect(before).toMatchObject({ state: "active", shard: 2 });
      awake.resolve();
      expect(["done", "TENANT_NOT_EMPTY", "TENANT_ELSEWHERE"]).toContain(await sleeping);
      expect(await readAll(here, 1n)).toEqual(before);
      await expectRest(here, 1n, "active");
      await expect(here.addNote(1, 1n, 78)).rejects.toThrow(/TESSERAE_GUARD:not_here/);
    });

    test("a process that is stopped by a signal and goes on later changes nothing", async () => {
      await using databases = await engine.databases(3, { servers: 2 });
      await using here = await Installation.at(databases.urls, { takeOverMs: 30 });
      await here.create();
      await prepare(here, "remove", 1n);
      const child = startChild({
        urls: databases.urls,
        work: "remove",
        keys: ["1"],
        point: "purging:batch",
        signal: "SIGSTOP",
      });
      // A stopped process would outlive a test that fails.
      onTestFinished(() => void child.kill("SIGKILL"));
      const exited = once(child, "exit");
      while ((await here.tenants.where(1n)).state !== "purging")
        await new Promise((resolve) => setTimeout(resolve, 5));
      await new Promise((resolve) => setTimeout(resolve, 100));
      await here.tenants.add(1n, { shard: 2 });
      await here.addNote(2, 1n, 77);
      const before = await readAll(here, 1n);
      child.kill("SIGCONT");
      expect(await exited).toEqual([0, null]);
      expect(await readAll(here, 1n)).toEqual(before);
    });
  });
});
