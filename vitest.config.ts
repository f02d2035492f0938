import { availableParallelism } from "node:os";
import { defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";

/** The workspace's packages are tested from their sources; nothing is built first. */
const conditions = ["tesserae-source", ...defaultServerConditions];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["tesserae-source"] } },
  test: {
    include: [
      "packages/*/test/**/*.test.ts",
      "apps/*/test/**/*.test.ts",
      "bench/test/**/*.test.ts",
      "docs/test/**/*.test.ts",
      "scripts/test/**/*.test.ts",
    ],
    pool: "forks",
    // The suites wait for servers more than they compute.
    maxWorkers: Math.max(2, availableParallelism()),
    execArgv: ["--conditions=tesserae-source", "--disable-warning=ExperimentalWarning"],
    globalSetup: ["packages/test-support/src/vitest-setup.ts"],
    setupFiles: ["packages/test-support/src/vitest-worker.ts"],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    // A test that asserts nothing, or is marked `only`, must not make a run green by mistake.
    allowOnly: process.env.CI !== "true",
    passWithNoTests: false,
  },
});
