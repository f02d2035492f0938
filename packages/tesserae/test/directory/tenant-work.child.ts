/**
 * A process that adds or removes keys and, when all of them have come to a named point, kills or stops itself there:
 * `tenant-work.child.ts <json of ChildWork>`.
 */
import type { MachinePoint } from "../../src/directory/tenant-machine.ts";
import { Installation } from "./installation.ts";

export interface ChildWork {
  readonly urls: readonly string[];
  readonly work: "add" | "remove" | "removeEmpty";
  readonly keys: readonly string[];
  readonly point: MachinePoint;
  readonly signal: "SIGKILL" | "SIGSTOP";
}

const { urls, work, keys, point, signal } = JSON.parse(process.argv[2] as string) as ChildWork;
let arrived = 0;
const here: Installation = await Installation.at(urls, {
  purgeBatchRows: 2,
  async at(now) {
    // A row that comes between the question whether there are any and the freeze.
    if (work === "removeEmpty" && now === "removing:claimed")
      await here.addNote(1, BigInt(keys[arrived] as string), 1);
    if (now !== point) return;
    arrived++;
    if (arrived < keys.length) await new Promise(() => {});
    process.kill(process.pid, signal);
    // The signal may take a moment to arrive.
    await new Promise((resolve) => setTimeout(resolve, 50));
  },
});
const all = keys.map(async (key, index) => {
  // One after the other, so that the row of `removeEmpty` is the right key's.
  while (arrived < index) await new Promise((resolve) => setTimeout(resolve, 1));
  if (work === "add") await here.tenants.add(BigInt(key), { shard: 1 });
  else
    await here.tenants
      .remove(BigInt(key), { rows: work === "remove" ? "delete" : "refuse" })
      .catch((error) => console.log(error.code));
});
await Promise.race(all);
process.exit(0);
