import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
// @ts-expect-error Plain JavaScript: it is loaded by whichever Node.js runs vitest.
import SummaryReporter from "../summary-reporter.mjs";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tesserae-reporter-"));
  vi.stubEnv("TESSERAE_TEST_SUMMARY", join(folder, "summary.json"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const module = (state: string, tests: string[]) => ({
  state: () => state,
  children: { allTests: () => tests.map((result) => ({ result: () => ({ state: result }) })) },
});

function count(modules: ReturnType<typeof module>[], unhandled: unknown[] = []) {
  new SummaryReporter().onTestRunEnd(modules, unhandled);
  return JSON.parse(readFileSync(join(folder, "summary.json"), "utf8"));
}

test("counts tests by their end", () => {
  const modules = [
    module("passed", ["passed", "skipped"]),
    module("failed", ["failed", "passed", "pending"]),
  ];
  expect(count(modules)).toEqual({ passed: 2, failed: 2, skipped: 1 });
});

test("counts a file that could not be loaded, and an error that no test caught", () => {
  expect(count([module("failed", []), module("passed", ["passed"])])).toEqual({
    passed: 1,
    failed: 1,
    skipped: 0,
  });
  expect(count([module("passed", ["passed"])], [new Error("late")])).toEqual({
    passed: 1,
    failed: 1,
    skipped: 0,
  });
});
