import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";

test("the lock file names no registry: it must install from whichever one is configured", () => {
  const lock = JSON.parse(readFileSync(resolve(import.meta.dirname, "../../package-lock.json"), "utf8"));
  const packages = Object.entries<{ resolved?: string; link?: boolean }>(lock.packages);
  const fixed = packages.filter(([, { resolved, link }]) => resolved !== undefined && link !== true);
  expect(fixed.map(([path]) => path)).toEqual([]);
});
