/**
 * `npm test`: installs what is missing, starts what the tests need, runs them all. Arguments go to vitest (`npm test -- packages/tesserae`).
 * The last line is always `N passed, N failed`, with `, N skipped` when there are any.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureInstalled, findNode, NODE_OPTIONS_OF_SOURCES, root, run } from "./bootstrap.mjs";

async function runTests(node) {
  const install = join(root, "packages", "test-support", "src", "install-command.ts");
  const installed = await run(node, [...NODE_OPTIONS_OF_SOURCES, install]);
  // Without the servers their suites are skipped, with the reason; a continuous integration must not be content with that.
  if (installed !== 0 && process.env.CI === "true") return { passed: 0, failed: 1, skipped: 0 };

  const whole = await runVitest(node, process.argv.slice(2), {});
  // A run that a signal has ended is the last one.
  if (!isWholeRun() || whole.code >= 128) return whole.counts;
  const { counts } = await runVitest(node, ON_POSTGRES_18, { TESSERAE_POSTGRES: "18" });
  return Object.fromEntries(Object.keys(counts).map((name) => [name, whole.counts[name] + counts[name]]));
}

/** What also runs on PostgreSQL 18, which comes as an npm package: everything else runs on the version that the system has. The first one fails where 18 is missing. */
const ON_POSTGRES_18 = [
  "packages/test-support/test/postgres-version.test.ts",
  "packages/tesserae/test/engine/values.test.ts",
  "packages/tesserae/test/engine/transactions.test.ts",
  "packages/tesserae/test/engine/guard.test.ts",
  "packages/tesserae/test/federation/federate.test.ts",
];

/** Not where somebody chose among tests or engines. The package is there for Linux on x64 alone; a continuous integration elsewhere has to say how it does without. */
function isWholeRun() {
  const { TESSERAE_ENGINES, TESSERAE_POSTGRES, CI } = process.env;
  if (process.argv.length > 2 || TESSERAE_ENGINES !== undefined || TESSERAE_POSTGRES !== undefined)
    return false;
  if (CI === "true" || (process.platform === "linux" && process.arch === "x64")) return true;
  process.stdout.write("PostgreSQL 18 is left out: its package is for Linux on x64.\n");
  return false;
}

async function runVitest(node, args, environment) {
  const folder = mkdtempSync(join(tmpdir(), "tesserae-summary-"));
  try {
    const summaryPath = join(folder, "summary.json");
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    const reporters = ["--reporter=default", `--reporter=${join(root, "scripts", "summary-reporter.mjs")}`];
    const code = await run(node, [vitest, "run", "--root", root, ...reporters, ...args], {
      env: { TESSERAE_TEST_SUMMARY: summaryPath, ...environment },
      // Nothing that vitest says late may come after our last line.
      stdio: ["ignore", "inherit", "inherit"],
    });
    return { code, counts: judge(code, readSummary(summaryPath)) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readSummary(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    // Vitest did not come as far as its end.
    return undefined;
  }
}

/** A run that ended badly, or that ran nothing, counts as a failure, whatever the tests said. */
function judge(code, summary) {
  const { passed, failed, skipped } = summary ?? { passed: 0, failed: 1, skipped: 0 };
  const silentFailure = failed === 0 && (code !== 0 || passed === 0);
  return { passed, failed: silentFailure ? 1 : failed, skipped };
}

// Until something else is known the run has failed; whatever ends this process, the counts are its last line.
let counts = { passed: 0, failed: 1, skipped: 0 };
process.on("exit", () => {
  const { passed, failed, skipped } = counts;
  if (failed > 0) process.exitCode = 1;
  process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
});

ensureInstalled();
counts = await runTests(findNode());
