/** A vitest reporter that writes the counts of a run to the file that TESSERAE_TEST_SUMMARY names. */
import { writeFileSync } from "node:fs";

export default class SummaryReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      let failedTests = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") counts.passed += 1;
        else if (state === "skipped") counts.skipped += 1;
        else failedTests += 1;
      }
      // A file that could not be loaded, or whose hooks failed, has failed, even if no test of it has.
      counts.failed += module.state() === "failed" ? Math.max(failedTests, 1) : failedTests;
    }
    const path = process.env.TESSERAE_TEST_SUMMARY;
    if (path !== undefined) writeFileSync(path, JSON.stringify(counts));
  }
}
