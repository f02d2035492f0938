/** `npm run check`: types, lint and format, the docs' examples and links. Runs all of them, then says which failed. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ensureInstalled, findNode, root, run } from "./bootstrap.mjs";

/** The root's `tsconfig.json` and each one in the workspaces. */
function findTypeScriptProjects() {
  const folders = ["packages", "apps"].flatMap((parent) =>
    existsSync(join(root, parent)) ? readdirSync(join(root, parent)).map((name) => join(parent, name)) : [],
  );
  return ["", ...folders, "bench", "docs"].flatMap((folder) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder))
          .filter((name) => /^tsconfig(\.\w+)?\.json$/.test(name) && name !== "tsconfig.base.json")
          .map((name) => join(folder, name))
      : [],
  );
}

ensureInstalled();
const node = findNode();
const program = (...path) => join(root, "node_modules", ...path);
const checks = [
  ...findTypeScriptProjects().map((project) => ({
    name: `types (${project})`,
    args: [program("typescript", "bin", "tsc"), "-p", join(root, project), "--noEmit"],
  })),
  {
    name: "lint and format",
    args: [program("@biomejs", "biome", "bin", "biome"), "ci", "--error-on-warnings", "."],
  },
  { name: "docs", args: [program("vitest", "vitest.mjs"), "run", "--root", root, "docs/test"] },
];

const failures = [];
for (const { name, args } of checks) {
  process.stdout.write(`— ${name}\n`);
  if ((await run(node, args, { cwd: root })) !== 0) failures.push(name);
}
process.stdout.write(failures.length === 0 ? "All checks passed.\n" : `Failed: ${failures.join(", ")}.\n`);
process.exitCode = failures.length === 0 ? 0 : 1;
