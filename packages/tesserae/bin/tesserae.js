#!/usr/bin/env node
// Runs on any Node, so that an old one gets a sentence and not a syntax error.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SOURCE_CONDITION = "--conditions=tesserae-source";

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `tesserae needs Node 22.18 or newer; this is ${process.versions.node}. Install a current Node.`,
  );
  process.exit(1);
}

const built = new URL("../dist/cli/main.js", import.meta.url);
const source = new URL("../src/cli/main.ts", import.meta.url);
const inWorkspace = existsSync(source);
const knowsSources = `${process.execArgv.join(" ")} ${process.env.NODE_OPTIONS ?? ""}`.includes(
  SOURCE_CONDITION,
);
if (inWorkspace && !knowsSources) {
  // In the project's own workspace nothing is built: the configuration's "tesserae" must be the same sources as ours.
  const nodeArguments = [
    SOURCE_CONDITION,
    "--disable-warning=ExperimentalWarning",
    fileURLToPath(import.meta.url),
  ];
  const { status } = spawnSync(process.execPath, [...nodeArguments, ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
} else {
  const { main } = await import(inWorkspace ? source.href : built.href);
  await main(process.argv);
}
