/** A target without room: a SQLite file on a file system of a few megabytes, which takes a superuser to make. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freshDatabases } from "@tesserae/test-support";
import { describe, expect, onTestFinished, test } from "vitest";
import { openAlbums } from "./albums.ts";

const isSuperuser = process.platform === "linux" && process.getuid?.() === 0;

/** A folder of its own file system; unmounted after the test. */
function smallFolder(mebibytes: number): string {
  const folder = mkdtempSync(join(tmpdir(), "tesserae-small-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", folder]);
  onTestFinished(() => {
    execFileSync("umount", ["-l", folder]);
    rmdirSync(folder);
  });
  return folder;
}

const resize = (folder: string, mebibytes: number) =>
  execFileSync("mount", ["-o", `remount,size=${mebibytes}m`, folder]);

/** Albums of one key with so many photos of 100 kB, and an almost full disk under shard 2. */
async function openOnSmallDisk(urls: readonly string[], photos: number) {
  const folder = smallFolder(6);
  const options = { config: { directory: { leaseMs: 30 } } };
  const albums = await openAlbums([...urls, `sqlite:${join(folder, "2.db")}`], options);
  await albums.fill(1n, 2);
  const title = "x".repeat(100_000);
  for (let id = 1001; id <= 1000 + photos; id++)
    await albums.fed
      .at(1n)
      .insertInto("photos")
      .values({ id: BigInt(id), title })
      .execute();
  return { albums, folder };
}

describe.skipIf(!isSuperuser)("a target without room (needs a superuser, who may mount)", () => {
  test("is refused before anything is written, when the rows' values alone are too much", async () => {
    await using databases = await freshDatabases("sqlite", 2);
    const { albums } = await openOnSmallDisk(databases.urls, 120);
    await using _closed = albums;
    await expect(albums.fed.moves.move(1n, { to: 2, graceMs: 30 })).rejects.toMatchObject({
      code: "DISK_FULL",
      shard: 2,
    });
    expect(await albums.fed.moves.list({ all: true })).toEqual([]);
    expect(await albums.fed.tenants.where(1n)).toMatchObject({ shard: 1, state: "active" });
  });

  test("that shows on the way: the source serves, and once there is room the target is cleaned", async () => {
    await using databases = await freshDatabases("sqlite", 2);
    const { albums, folder } = await openOnSmallDisk(databases.urls, 40);
    await using _closed = albums;
    await expect(albums.fed.moves.move(1n, { to: 2, graceMs: 30 })).rejects.toMatchObject({
      code: "DISK_FULL",
    });
    await albums.addRows(1n, 2, 500);
    const before = await albums.counts(1);
    expect(before).toMatchObject({ photos: 44, tesserae_log_default: 0 });
    resize(folder, 30);
    await albums.fed.moves.resume();
    expect(await albums.fed.moves.list({ all: true })).toMatchObject([
      { state: "aborted", error: { code: "DISK_FULL" } },
    ]);
    expect(await albums.counts(2)).toEqual(albums.expected([]));
    await albums.fed.moves.move(1n, { to: 2, graceMs: 30 });
    expect(await albums.counts(2)).toEqual(before);
  });
});
