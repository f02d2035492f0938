/**
 * A process that inserts people: `lookup-work.child.ts <json of ChildWork>`. With a point it kills or stops itself there, once; at the end it writes what became of each
 * e-mail as one line of JSON.
 */
import { federate } from "../../src/index.ts";
import type { LookupPoint } from "../../src/session/lookup-writer.ts";
import { lookupConfig } from "./lookup-site.ts";

export interface ChildWork {
  readonly urls: readonly string[];
  readonly key: string;
  readonly emails: readonly string[];
  /** Of the first one. */
  readonly id: number;
  readonly point?: LookupPoint | undefined;
  readonly signal?: "SIGKILL" | "SIGSTOP" | undefined;
}

const { urls, key, emails, id, point, signal } = JSON.parse(process.argv[2] as string) as ChildWork;
let reached = false;
const fed = await federate(
  lookupConfig(urls, {
    async at(now) {
      if (now !== point || reached || signal === undefined) return;
      reached = true;
      console.log(`at ${point}`);
      process.kill(process.pid, signal);
      // The signal may take a moment to arrive.
      await new Promise((resolve) => setTimeout(resolve, 50));
    },
  }),
);
// Both racers begin at the same time.
if (signal === undefined) {
  console.log("ready");
  await new Promise((resolve) => process.stdin.once("data", resolve));
}
const outcomes: Record<string, string> = {};
for (const [index, email] of emails.entries()) {
  for (;;) {
    outcomes[email] = await fed
      .at(BigInt(key))
      .insertInto("people")
      .values({ id: BigInt(id + index), email })
      .execute()
      .then(
        () => "written",
        (error: { code?: string }) => error.code ?? String(error),
      );
    if (outcomes[email] !== "LOOKUP_BUSY") break;
  }
}
console.log(JSON.stringify(outcomes));
await fed.close();
process.stdin.destroy();
