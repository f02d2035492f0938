import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CliFolder, packageFolder } from "./cli-folder.ts";

describe("tesserae", () => {
  let cli: CliFolder;
  let folder: string;
  const run: CliFolder["run"] = (...args) => cli.run(...args);

  beforeEach(() => {
    cli = new CliFolder();
    folder = cli.path;
  });
  afterEach(() => cli.remove());

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
    expect(tickets.ids).toEqual(["1", "2", "3"]);
    // What was not asked for was not leased.
    expect((await run("tickets", "notes")).stdout).toBe("4\n");
    const status = JSON.parse((await run("status", "--json")).stdout) as { databases: unknown[] };
    expect(status.databases).toContainEqual(expect.objectContaining({ name: "shard 1", tenants: 2 }));
    expect((await run("status")).stdout).toContain("main plays: replicas, federation, tickets");
    expect(await run("tenant", "remove", "7")).toMatchObject({ code: 0, stdout: "7 was removed\n" });
    expect((await run("tenant", "where", "7")).stdout).toBe("7 was removed; it was on shard 1\n");
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
  }, 120_000);

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
  }, 120_000);

  it("begins in a package of CommonJS, too, and in a folder that is not there", async () => {
    cli.setPackageType("commonjs");
    const written = await run("init", "new/project");
    expect(written).toMatchObject({ code: 0, stdout: expect.stringContaining("npm pkg set type=module") });
    expect(written.stdout).toContain('"cd new/project"');
    const config = join("new", "project", "tesserae.config.mts");
    expect(existsSync(join(folder, config))).toBe(true);
    expect(await run("--config", config, "schema", "apply")).toMatchObject({ code: 0, stderr: "" });
    // The configuration's paths are as seen from its folder.
    expect(existsSync(join(folder, "new/project/app.db"))).toBe(true);
    expect(existsSync(join(folder, "app.db"))).toBe(false);
    expect(await run("init", config)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("is a file"),
    });
    expect(await run("init", "new/project")).toMatchObject({ code: 3 });
  }, 120_000);

  it("says why a configuration cannot be loaded", async () => {
    const file = join(folder, "tesserae.config.ts");
    const invalid = (...texts: string[]) => ({
      code: 3,
      stderr: expect.stringMatching(new RegExp(`CONFIG_INVALID: ${[file, ...texts].join("[^]*")}`)),
    });
    writeFileSync(file, "export default {;\n");
    expect(await run("status")).toMatchObject(invalid("SyntaxError"));
    writeFileSync(
      file,
      'import { schema } from "./nowhere.ts";\nexport default { schema, main: "sqlite:a" };\n',
    );
    expect(await run("status")).toMatchObject(invalid("nowhere.ts"));
    writeFileSync(file, 'export default () => { throw new Error("no secret file"); };\n');
    expect(await run("status")).toMatchObject(invalid("no secret file"));
    cli.setPackageType("commonjs");
    writeFileSync(file, 'import { sqlite } from "tesserae";\nexport default { main: sqlite("a.db") };\n');
    expect(await run("status")).toMatchObject(invalid("npm pkg set type=module"));
  }, 120_000);

  it("asks for the status without making anything", async () => {
    await run("init");
    const before = await run("status");
    expect(before).toMatchObject({ code: 4, stdout: expect.stringContaining("not applied yet") });
    expect(before.stdout).toContain("The file is not there yet");
    expect(existsSync(join(folder, "app.db")) || existsSync(join(folder, "app.control.db"))).toBe(false);
    expect(JSON.parse((await run("status", "--json")).stdout)).toMatchObject({ schemaApplied: false });
    await run("schema", "apply");
    const after = await run("status");
    expect(after.code).toBe(0);
    expect(after.stdout).not.toContain("not applied yet");
    const config = `
      import { schema } from "./schema.ts";
      export default { schema, main: "sqlite:app.db", shards: { 1: "main", 2: "sqlite:two.db" } };
    `;
    writeFileSync(join(folder, "tesserae.config.ts"), config);
    const grown = await run("status", "--json");
    expect(grown.code).toBe(4);
    const { schemaApplied, databases } = JSON.parse(grown.stdout) as {
      schemaApplied: boolean;
      databases: { name: string; tenants?: number; error?: string }[];
    };
    expect(schemaApplied).toBe(true);
    expect(databases.find(({ name }) => name === "shard 1")).toMatchObject({ tenants: 0 });
    const two = databases.find(({ name }) => name === "shard 2");
    expect(two?.error).toContain("CONNECT_FAILED");
    expect(two).not.toHaveProperty("tenants");
    expect(existsSync(join(folder, "two.db"))).toBe(false);
  }, 120_000);

  it("answers a wrong command line in JSON where JSON was asked for, and tells its version", async () => {
    for (const args of [["nonsense"], ["tenant", "add"], ["tenant", "list", "--limit", "none"], []]) {
      const { code, stdout, stderr } = await run(...args, "--json");
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(JSON.parse(stderr)).toMatchObject({
        error: { code: "CLI_USAGE", message: expect.stringMatching(/^[A-Z]/) },
      });
    }
    const { version } = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8")) as {
      version: string;
    };
    expect(await run("--version")).toMatchObject({ code: 0, stdout: `${version}\n` });
  }, 120_000);
});
