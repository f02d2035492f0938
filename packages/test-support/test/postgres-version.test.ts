/** Which PostgreSQL a run has: the one that it asks for, or none. */
import { expect, test } from "vitest";
import { queryAsAdmin, sharedServer, whyUnavailable } from "../src/index.ts";

const why = whyUnavailable("postgres");
const wanted = process.env.TESSERAE_POSTGRES;

test.skipIf(why !== undefined && !wanted)(
  `is of the version asked for${wanted ? ` (${wanted})` : ""}`,
  async () => {
    const [row] = await queryAsAdmin(await sharedServer("postgres"), "show server_version_num");
    const major = Math.trunc(Number(row?.["server_version_num"]) / 10_000);
    if (wanted) expect(major).toBe(Number(wanted));
    else expect(major).toBeGreaterThanOrEqual(14);
  },
);
