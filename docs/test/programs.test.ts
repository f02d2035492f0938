import { describe, expect, test } from "vitest";
import { readAnchors, readCodeBlocks } from "./pages.ts";
import { makePrograms } from "./programs.ts";

const page = `# A page

\`\`\`ts
import { a } from "x";
import {
  b,
  type C,
} from "x";
import y, { z } from "y";
const first = a(b, y, z);
\`\`\`

Instead:

\`\`\`ts no-run
import { a, d } from "x";
export const first = d(a);
\`\`\`

\`\`\`ts file=schema.ts
export const schema = 1;
\`\`\`

\`\`\`ts
import "z";
console.log(first);
\`\`\`
`;

describe("the programs of a page", () => {
  const programs = makePrograms(readCodeBlocks(page));
  const lineOf = (name: string, text: string) =>
    (programs.find((program) => program.name === name)?.source ?? "")
      .split("\n")
      .findIndex((line) => line.includes(text)) + 1;

  test("are one of what runs, and one for each block that does not", () => {
    expect(programs.map(({ name, runs }) => [name, runs])).toEqual([
      ["line-16.ts", false],
      ["schema.ts", false],
      ["page.ts", true],
    ]);
  });

  test("import every name once", () => {
    const first = programs.find(({ name }) => name === "page.ts")?.source.split("\n")[0];
    expect(first).toBe(
      'import  y from "y"; import "z"; import { a, b, type C } from "x"; import { z } from "y"; export {};',
    );
  });

  test("keep the page's line numbers", () => {
    const lines = page.split("\n");
    for (const text of ["const first = a", "console.log(first)"]) {
      expect(lineOf("page.ts", text)).toBe(lines.findIndex((line) => line.includes(text)) + 1);
    }
    expect(lineOf("line-16.ts", "first = d(a)")).toBe(17);
    expect(lineOf("schema.ts", "schema = 1")).toBe(21);
  });
});

test("headings have the anchors that GitHub gives them", () => {
  const anchors = readAnchors("# One, two & `three`\n## Again\n## Again\n```\n# no\n```\n");
  expect([...anchors]).toEqual(["one-two--three", "again", "again-1"]);
});
