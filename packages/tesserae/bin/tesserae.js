#!/usr/bin/env node
// Runs on any Node, so that an old one gets a sentence and not a syntax error.
import { existsSync } from "node:fs";

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(`tesserae needs Node 22.18 or newer; this is ${process.versions.node}. Install a current Node.`);
  process.exit(1);
}
const built = new URL("../dist/cli/main.js", import.meta.url);
const source = new URL("../src/cli/main.ts", import.meta.url);
const { main } = await import(existsSync(source) ? source.href : built.href);
await main(process.argv);
