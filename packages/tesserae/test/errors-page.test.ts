/** docs/ERRORS.md and the catalogue of codes say the same: one entry for each code, in one order, with the same answer to whether trying again can help. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ERROR_CODES } from "../src/base/error-codes.ts";

const page = readFileSync(join(import.meta.dirname, "../../../docs/ERRORS.md"), "utf8");

/** The page's entries: a heading that is a code, and the text to the next heading. */
const entries = new Map(
  page
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const end = section.indexOf("\n");
      return [section.slice(0, end).trim(), section.slice(end).trim()];
    }),
);
const codes = Object.entries(ERROR_CODES);

test("the page has an entry for each code and no other, in alphabetical order", () => {
  const names = codes.map(([code]) => code).sort();
  expect([...entries.keys()]).toEqual(names);
});

describe.each(codes)("%s", (code, { retryable, summary }) => {
  const entry = entries.get(code) ?? "";

  test("says what it means, whether to retry, and what to do", () => {
    expect(entry.split("\n")[0]).not.toBe("");
    expect(/^Retryable: (yes|no)\./m.exec(entry)?.[1]).toBe(retryable ? "yes" : "no");
    expect(entry).toMatch(/^\*\*What to do\.\*\* \S/m);
  });

  test("has a summary that is a sentence", () => {
    expect(summary).toMatch(/^["A-Z].*\.$/);
  });
});
