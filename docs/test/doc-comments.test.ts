/** The examples in the library's doc comments have the types they should. Where one speaks of `fed`, it is the README's federation. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ExampleFolder, TIMEOUT_MS } from "./example-folder.ts";
import { readCodeBlocks, workspace } from "./pages.ts";

const source = join(workspace, "packages/tesserae/src");

/** The schema of `fed` in the examples. */
const PRELUDE = `import {
  bigint, decimal, defineSchema, type Federation, federated, global, json, reference, text, timestamp,
} from "tesserae";

export const schema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: bigint().ticket(), name: text(64).unique(), created: timestamp() }),
    themes: reference({ id: bigint(), label: text(64) }),
    sheets: federated("user_id", { id: bigint().ticket(), user_id: bigint(), label: text(255) }),
    dots: federated("user_id", {
      id: bigint().ticket(), user_id: bigint(), sheet_id: bigint().references("sheets"),
      lat: decimal(9, 6), lon: decimal(9, 6), details: json(), created: timestamp(),
    }, { indexes: [["user_id", "created"]] }),
  },
});
export declare const fed: Federation<typeof schema>;
`;

interface Example {
  readonly name: string;
  readonly code: string;
}

function readExamples(path: string): Example[] {
  const text = readFileSync(path, "utf8");
  const name = relative(source, path).replaceAll(/[\\/]/g, "-").replace(/\.ts$/, "");
  return [...text.matchAll(/\/\*\*[\s\S]*?\*\//g)].flatMap((comment) => {
    const before = text.slice(0, comment.index).split("\n").length - 1;
    // Blank lines in place of what is outside the example keep the source's line numbers.
    const lines = comment[0].split("\n").map((line) => line.replace(/^\s*\* ?/, ""));
    return readCodeBlocks(lines.join("\n"))
      .filter(({ language }) => language === "ts")
      .map(({ code, line }) => ({
        name: `${name}-${before + line}.ts`,
        code: "\n".repeat(before + line - 1) + code,
      }));
  });
}

const examples = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .sort()
  .flatMap((name) => readExamples(join(source, name)));

let folder: ExampleFolder;
beforeAll(() => {
  folder = new ExampleFolder();
  folder.write("src/prelude.ts", PRELUDE);
  for (const { name, code } of examples) {
    const borrowed = ["fed", "schema"].filter(
      (word) =>
        new RegExp(`\\b${word}\\b`).test(code) && !new RegExp(`\\b(const|using|let) ${word}\\b`).test(code),
    );
    const lead =
      borrowed.length === 0 ? "export {};" : `import { ${borrowed.join(", ")} } from "./prelude.ts";`;
    folder.write(`src/${name}`, `${lead}${code}`);
  }
});
afterAll(() => folder.remove());

test("the examples in the library's doc comments compile", { timeout: TIMEOUT_MS }, async () => {
  expect(examples.length).toBeGreaterThan(0);
  await folder.check();
});
