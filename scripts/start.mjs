/** `npm start`: the reference application on embedded databases under `data/`. PORT is honoured. */
import { join } from "node:path";
import { ensureInstalled, findNode, NODE_OPTIONS_OF_SOURCES, root, run } from "./bootstrap.mjs";

ensureInstalled();
const server = join(root, "apps", "dotspotting", "src", "server.ts");
process.exitCode = await run(findNode(), [...NODE_OPTIONS_OF_SOURCES, server, ...process.argv.slice(2)]);
