/** The pages' code holds: TypeScript is checked and, unless it says `no-run`, run; `sh run` blocks are run as well. */
import { afterAll, beforeAll, describe, test } from "vitest";
import { ExampleFolder, TIMEOUT_MS } from "./example-folder.ts";
import { findPages, readCodeBlocks } from "./pages.ts";
import { makePrograms } from "./programs.ts";

const pages = findPages().map(({ path, text }) => {
  const blocks = readCodeBlocks(text);
  const commands = blocks.filter(({ language, words }) => language === "sh" && words.includes("run"));
  return { path, folder: path.replace(/[^\w.]/g, "-"), programs: makePrograms(blocks), commands };
});
const withCode = pages.filter(({ programs, commands }) => programs.length + commands.length > 0);

let examples: ExampleFolder;

beforeAll(() => {
  examples = new ExampleFolder();
  for (const { folder, programs, commands } of withCode) {
    for (const { name, source } of programs) examples.write(`${folder}/${name}`, source);
    const script = commands.map(({ code }) => code).join("\n");
    if (commands.length > 0) examples.write(`${folder}/commands.sh`, `set -eu\n${script}\n`);
  }
});

afterAll(() => examples.remove());

test("the pages' TypeScript has the types it should", { timeout: TIMEOUT_MS }, async () => {
  if (withCode.some(({ programs }) => programs.length > 0)) await examples.check();
});

describe.each(withCode)("$path", ({ folder, programs, commands }) => {
  for (const { name } of programs.filter(({ runs }) => runs)) {
    test("its program runs to its end", { timeout: TIMEOUT_MS }, () =>
      examples.run(process.execPath, [name], folder),
    );
  }
  if (commands.length === 0) return;
  test("its commands run", { timeout: TIMEOUT_MS }, () => examples.run("/bin/sh", ["commands.sh"], folder));
});
