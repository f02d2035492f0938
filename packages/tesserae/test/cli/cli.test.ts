import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const packageFolder = join(import.meta.dirname, "../..");
const bin = join(packageFolder, "bin/tesserae.js");

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe("tesserae", () => {
  let folder: string;

  // Inside the package, so that the configuration's import of "tesserae" finds it.
  beforeEach(() => {
    folder = mkdtempSync(join(packageFolder, ".tmp-cli-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  function run(...args: string[]): Promise<Ran> {
    const options = ["--conditions=tesserae-source", "--disable-warning=ExperimentalWarning", bin, ...args];
    return new Promise((resolve) => {
      execFile(process.execPath, options, { cwd: folder }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      });
    });
  }

  it("begins with init, and goes on to tenants and tickets", async () => {
    expect(await run("init")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("tesserae.config.ts"),
    });
    expect(readFileSync(join(folder, "schema.ts"), "utf8")).toContain("defineSchema");
    expect(await run("init")).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("CONFIG_FILE_EXISTS"),
    });
    expect(await run("tenant", "add", "1")).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("tesserae schema apply"),
    });
    expect(await run("schema", "apply")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("created guard notes on shard 1"),
    });
    expect(await run("schema", "apply")).toMatchObject({ code: 0, stdout: "everything is there already\n" });
    expect(await run("tenant", "add", "12")).toMatchObject({ code: 0, stdout: "12 lives on shard 1\n" });
    expect(await run("tenant", "add", "7", "--json")).toMatchObject({ code: 0 });
    const where = await run("--json", "tenant", "where", "12");
    expect(JSON.parse(where.stdout)).toMatchObject({ key: "12", shard: 1, state: "active" });
    expect((await run("tenant", "list")).stdout).toBe(
      "key  shard  state\n7    1      active\n12   1      active\n",
    );
    expect(JSON.parse((await run("tenant", "list", "--json", "--after", "7")).stdout)).toMatchObject({
      tenants: [{ key: "12" }],
    });
    const tickets = JSON.parse((await run("tickets", "notes", "-n", "3", "--json")).stdout) as {
      ids: string[];
    };
    expect(new Set(tickets.ids).size).toBe(3);
    const status = JSON.parse((await run("status", "--json")).stdout) as { databases: unknown[] };
    expect(status.databases).toContainEqual(expect.objectContaining({ name: "shard 1", tenants: 2 }));
    expect((await run("status")).stdout).toContain("main plays: replicas, federation, tickets");
    expect(await run("tenant", "remove", "7")).toMatchObject({ code: 0, stdout: "7 was removed\n" });
    expect(await run("tenant", "where", "999")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("KEY_UNKNOWN"),
    });
  }, 120_000);

  it("says by its exit code what is wrong", async () => {
    expect(await run("status")).toMatchObject({ code: 3, stderr: expect.stringContaining("tesserae init") });
    expect(await run("nonsense")).toMatchObject({ code: 2 });
    expect(await run("tenant", "list", "--limit", "none")).toMatchObject({ code: 2 });
    expect(await run("--help")).toMatchObject({ code: 0, stdout: expect.stringContaining("schema") });
    writeFileSync(join(folder, "broken.config.ts"), "export default 3;\n");
    expect(await run("-c", "broken.config.ts", "status")).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("CONFIG_INVALID"),
    });
  }, 60_000);

  it("reports a database that does not answer, with its password hidden", async () => {
    const config = `
      import { bigint, defineSchema } from "tesserae";
      const schema = defineSchema({ key: bigint(), tables: {} });
      export default { schema, main: "postgres://app:hidden-word@127.0.0.1:1/app" };
    `;
    writeFileSync(join(folder, "tesserae.config.ts"), config);
    const status = await run("status");
    expect(status).toMatchObject({ code: 4, stdout: expect.stringContaining("CONNECT_FAILED") });
    expect(status.stdout + status.stderr).not.toContain("hidden-word");
    const apply = await run("schema", "apply", "--json");
    expect(apply.code).toBe(4);
    expect(JSON.parse(apply.stderr)).toMatchObject({ error: { code: "CONNECT_FAILED", retryable: true } });
  }, 60_000);
});
