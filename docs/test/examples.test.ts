/** The pages' code holds: TypeScript is checked and, unless it says `no-run`, run; `sh run` blocks are run as well. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findPages, readCodeBlocks, workspace } from "./pages.ts";
import { makePrograms } from "./programs.ts";

const execute = promisify(execFile);
const TIMEOUT_MS = 120_000;

const pages = findPages().map((page) => {
  const blocks = readCodeBlocks(page.text);
  const commands = blocks.filter(({ language, words }) => language === "sh" && words.includes("run"));
  return { ...page, programs: makePrograms(blocks), commands };
});
const withCode = pages.filter(({ programs, commands }) => programs.length + commands.length > 0);

let folder: string;
const folderOf = (path: string) => join(folder, path.replace(/[^\w.]/g, "-"));

beforeAll(() => {
  // Outside the workspace, as a user's program is, with the workspace's packages in reach.
  folder = mkdtempSync(join(tmpdir(), "tesserae-docs-"));
  symlinkSync(join(workspace, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      extends: join(workspace, "tsconfig.base.json"),
      compilerOptions: {
        noUnusedLocals: false,
        noUnusedParameters: false,
        typeRoots: [join(workspace, "node_modules/@types")],
      },
      include: ["*/**/*.ts"],
      exclude: ["node_modules"],
    }),
  );
  for (const { path, programs, commands } of withCode) {
    mkdirSync(folderOf(path), { recursive: true });
    for (const { name, source } of programs) {
      const file = join(folderOf(path), name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, source);
    }
    if (commands.length > 0) {
      const script = commands.map(({ code }) => code).join("\n");
      writeFileSync(join(folderOf(path), "commands.sh"), `set -eu\n${script}\n`);
    }
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a program; its output is the message of the error when it fails. */
async function succeed(command: string, args: readonly string[], cwd: string): Promise<void> {
  const path = `${join(workspace, "node_modules/.bin")}:${process.env.PATH}`;
  const env = { ...process.env, PATH: path, NODE_OPTIONS: "--conditions=tesserae-source" };
  try {
    await execute(command, args, { cwd, env, timeout: TIMEOUT_MS });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    expect.fail(`${command} ${args.join(" ")} in ${cwd} failed:\n${stdout}${stderr}`);
  }
}

test("the pages' TypeScript has the types it should", { timeout: TIMEOUT_MS }, async () => {
  if (withCode.every(({ programs }) => programs.length === 0)) return;
  await succeed(join(workspace, "node_modules/.bin/tsc"), ["-p", join(folder, "tsconfig.json")], folder);
});

describe.each(withCode)("$path", ({ path, programs, commands }) => {
  for (const { name } of programs.filter(({ runs }) => runs)) {
    test("its program runs to its end", { timeout: TIMEOUT_MS }, () =>
      succeed(process.execPath, [name], folderOf(path)),
    );
  }
  if (commands.length === 0) return;
  test("its commands run", { timeout: TIMEOUT_MS }, () =>
    succeed("/bin/sh", ["commands.sh"], folderOf(path)),
  );
});
