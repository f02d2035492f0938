/** `npm run bench -- NAME [--quick] [--json]`. */
import { join } from "node:path";
import { ensureInstalled, findNode, NODE_OPTIONS_OF_SOURCES, root, run } from "./bootstrap.mjs";

ensureInstalled();
const cli = join(root, "bench", "src", "cli.ts");
process.exitCode = await run(findNode(), [
  "--expose-gc",
  ...NODE_OPTIONS_OF_SOURCES,
  cli,
  ...process.argv.slice(2),
]);
