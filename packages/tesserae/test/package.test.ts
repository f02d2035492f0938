/**
 * The package as it is published: packed, unpacked into an application of its own, and used by plain Node and by a compiler that checks the
 * declarations of libraries too. Neither `mysql2` nor `pg` nor DuckDB is installed there.
 */
import { execFile } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const workspace = resolve(import.meta.dirname, "../../..");
const modules = join(workspace, "node_modules");
const TIMEOUT_MS = 180_000;

interface Ran {
  readonly code: number;
  readonly output: string;
}

/** With no conditions and no options of Node: as for somebody who knows nothing of this workspace. */
function run(folder: string, command: string, ...args: string[]): Promise<Ran> {
  const { NODE_OPTIONS: _, ...environment } = process.env;
  const env = { ...environment, PATH: `${join(modules, ".bin")}:${process.env["PATH"]}` };
  return new Promise((done) => {
    execFile(command, args, { cwd: folder, env }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : Number(error.code ?? 1), output: stdout + stderr }),
    );
  });
}

describe("the published package", () => {
  const root = mkdtempSync(join(tmpdir(), "tesserae-package-"));
  const application = join(root, "application");
  const installed = join(application, "node_modules", "tesserae");

  beforeAll(async () => {
    // A copy of the workspace's part that builds it: a build here would be in the way of those who work on the sources.
    const source = join(root, "workspace", "packages", "tesserae");
    mkdirSync(source, { recursive: true });
    for (const name of ["src", "bin", "package.json", "tsconfig.build.json", "README.md", "LICENSE"])
      cpSync(join(import.meta.dirname, "..", name), join(source, name), { recursive: true });
    cpSync(join(workspace, "tsconfig.base.json"), join(root, "workspace", "tsconfig.base.json"));
    symlinkSync(modules, join(root, "workspace", "node_modules"));
    // A file that an older build left must not be published.
    mkdirSync(join(source, "dist"));
    writeFileSync(join(source, "dist", "old.js"), "");
    const built = await run(source, "npm", "pack", "--pack-destination", root);
    // When the sources have an error, this is the place that shows it.
    if (built.code !== 0) throw new Error(`npm pack failed:\n${built.output}`);

    mkdirSync(installed, { recursive: true });
    const [tarball = "none"] = readdirSync(root).filter((name) => name.endsWith(".tgz"));
    await run(root, "tar", "-xzf", tarball, "-C", installed, "--strip-components=1");
    for (const name of ["kysely", "commander", "@types/node", "undici-types"]) {
      const link = join(application, "node_modules", name);
      mkdirSync(dirname(link), { recursive: true });
      // A copy: through a link the compiler would find what else the workspace has.
      cpSync(join(modules, name), link, { recursive: true });
    }
    writeFileSync(join(application, "package.json"), '{"type": "module"}');
  }, TIMEOUT_MS);
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test("is built when it is packed, and has what it needs and no more", () => {
    const files = readdirSync(installed, { recursive: true, encoding: "utf8" });
    for (const name of [
      "README.md",
      "LICENSE",
      "bin/tesserae.js",
      "dist/index.js",
      "dist/index.d.ts",
      "dist/cli/main.js",
    ])
      expect(files).toContain(name);
    expect(files).not.toContain("dist/old.js");
    // A map without its source is of no use.
    expect(files.filter((name) => /\.map$|^src|^test|tsconfig/.test(name))).toEqual([]);
    const linesToMaps = files.filter(
      (name) =>
        name.endsWith(".js") && readFileSync(join(installed, name), "utf8").includes("sourceMappingURL"),
    );
    expect(linesToMaps).toEqual([]);
  });

  test("runs on plain Node: the library and the command", { timeout: TIMEOUT_MS }, async () => {
    const program = `
      import { bigint, defineSchema, federate, federated, sqlite, text } from "tesserae";
      const schema = defineSchema({
        key: bigint(),
        tables: { notes: federated("user_id", { id: bigint().ticket(), user_id: bigint(), body: text(200) }) },
      });
      await using fed = await federate({ schema, main: sqlite("notes.db") });
      await fed.schema.apply();
      await fed.tenants.add(1n);
      await fed.at(1n).insertInto("notes").values({ id: await fed.tickets.next("notes"), body: "first" }).execute();
      const notes = fed.at(1n).selectFrom("notes").select("body");
      console.log((await notes.execute()).map((note) => note.body).join());
      const gather = (options) => fed.gather({ notes }, "select upper(body) as body from notes", [], options);
      console.log(await gather({}).execute().catch((error) => error.code));
      console.log((await gather({ engine: "sqlite" }))[0].body);
    `;
    writeFileSync(join(application, "program.js"), program);
    expect(await run(application, process.execPath, "program.js")).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^first\nGATHER_ENGINE_MISSING\nFIRST$/m),
    });

    const command = join(installed, "bin", "tesserae.js");
    const cli = (...args: string[]) => run(application, process.execPath, command, ...args);
    expect(await cli("init", "fresh")).toMatchObject({ code: 0 });
    const config = ["--config", "fresh/tesserae.config.ts"];
    expect(await cli(...config, "schema", "apply")).toMatchObject({ code: 0 });
    expect(await cli(...config, "status")).toMatchObject({
      code: 0,
      output: expect.stringContaining("main plays: replicas, federation, tickets"),
    });
  });

  test("has types that hold without the drivers' ones", { timeout: TIMEOUT_MS }, async () => {
    const program = `
      import { bigint, defineSchema, federate, federated, mysql, type MysqlOptions, postgres, sqlite, text } from "tesserae";
      const schema = defineSchema({
        key: bigint(),
        tables: { notes: federated("user_id", { id: bigint().ticket(), user_id: bigint(), body: text(200) }) },
      });
      const options: MysqlOptions = { database: "notes", tls: { rejectUnauthorized: true } };
      export const engines = [mysql(options), postgres({ database: "notes" }), sqlite("notes.db")];
      const fed = await federate({ schema, main: "sqlite:notes.db" });
      const notes = await fed.at(1n).selectFrom("notes").select(["id", "body"]).execute();
      export const bodies: string[] = notes.map((note) => note.body);
      // @ts-expect-error The key is a bigint: the types have come through.
      fed.at("one");
    `;
    const project = {
      compilerOptions: {
        target: "es2024",
        lib: ["es2024", "esnext.disposable"],
        module: "nodenext",
        types: ["node"],
        strict: true,
        skipLibCheck: false,
        noEmit: true,
      },
      files: ["program.ts"],
    };
    writeFileSync(join(application, "program.ts"), program);
    writeFileSync(join(application, "tsconfig.json"), JSON.stringify(project));
    const { output } = await run(application, "tsc", "-p", ".", "--pretty", "false");
    expect(output.split("\n").filter((line) => line !== "")).toEqual([]);
  });
});
