/**
 * The house's floors: what a folder may import, types included. A file imports from its own folder and from lower floors, so that whoever
 * changes one floor need read only those below it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { parseSync, Visitor } from "vite";
import { describe, expect, test } from "vitest";

const FLOORS: Readonly<Record<string, number>> = {
  base: 0,
  schema: 1,
  topology: 2,
  engine: 3,
  directory: 4,
  lookups: 4,
  tickets: 4,
  replicas: 4,
  session: 5,
  "fan-out": 6,
  synchronizer: 6,
  move: 7,
  "shard-manager": 8,
  rebalance: 8,
  growth: 8,
  cli: 9,
  integrations: 9,
  testing: 9,
};

/** `federation.ts`, `index.ts` and their like: the whole, which the other faces of the top floor may use. */
const ROOT_FLOOR = 9;

const workspace = resolve(import.meta.dirname, "../../..");
const source = join(workspace, "packages/tesserae/src");

function findSources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.[cm]?[jt]sx?$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !/[\\/](node_modules|dist|data|public)[\\/]/.test(path))
    .sort();
}

/** Every module a file names: imports, re-exports, dynamic imports and `import("…")` in types. */
function readImports(path: string): string[] {
  const result = parseSync(path, readFileSync(path, "utf8"));
  const found: string[] = [];
  const add = (node: { value?: unknown } | null | undefined) => {
    if (typeof node?.value === "string") found.push(node.value);
  };
  new Visitor({
    ImportDeclaration: (node) => add(node.source),
    ExportNamedDeclaration: (node) => add(node.source),
    ExportAllDeclaration: (node) => add(node.source),
    ImportExpression: (node) => add(node.source as { value?: unknown }),
    TSImportType: (node) => add(node.source),
  }).visit(result.program);
  return found;
}

const graph = new Map(
  findSources(source).map((path) => [
    path,
    readImports(path)
      .filter((name) => name.startsWith("."))
      .map((name) => resolve(dirname(path), name)),
  ]),
);

const nameOf = (path: string) => relative(source, path).split(sep).join("/");

/** The folder below `src`, or "" for a file at the top. */
function folderOf(path: string): string {
  const [first, ...rest] = nameOf(path).split("/");
  return rest.length === 0 ? "" : (first ?? "");
}

function floorOf(path: string): number {
  const folder = folderOf(path);
  const floor = folder === "" ? ROOT_FLOOR : FLOORS[folder];
  if (floor === undefined)
    throw new Error(`The folder src/${folder} has no floor. Give it one here and in the plan.`);
  return floor;
}

function isAllowed(from: string, to: string): boolean {
  if (folderOf(from) === folderOf(to)) return true;
  if (floorOf(to) < floorOf(from)) return true;
  return floorOf(from) === ROOT_FLOOR && folderOf(to) === "";
}

function findCircles(): string[] {
  const circles: string[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (path: string) => {
    const start = trail.indexOf(path);
    if (start >= 0) circles.push([...trail.slice(start), path].map(nameOf).join(" → "));
    if (start >= 0 || done.has(path)) return;
    trail.push(path);
    for (const next of graph.get(path) ?? []) visit(next);
    trail.pop();
    done.add(path);
  };
  for (const path of graph.keys()) visit(path);
  return circles;
}

describe("the floors of the house", () => {
  test("imports run downwards only, types included", () => {
    const wrong = [...graph].flatMap(([from, imports]) =>
      imports
        .filter((to) => graph.has(to) && !isAllowed(from, to))
        .map((to) => `${nameOf(from)} (floor ${floorOf(from)}) imports ${nameOf(to)} (floor ${floorOf(to)})`),
    );
    expect(wrong).toEqual([]);
  });

  test("relative imports name a source file, by its whole name", () => {
    const wrong = [...graph].flatMap(([from, imports]) =>
      imports.filter((to) => !graph.has(to)).map((to) => `${nameOf(from)} imports ${nameOf(to)}`),
    );
    expect(wrong.filter((line) => !line.endsWith("package.json"))).toEqual([]);
  });

  test("no files import each other in a circle", () => {
    expect(findCircles()).toEqual([]);
  });

  test("every engine has the parts of an engine under the same names", () => {
    const parts = ["capabilities", "codecs", "ddl", "dialect", "engine", "errors", "guard", "pool"].map(
      (part) => `${part}.ts`,
    );
    // What else a folder holds is what its driver needs: a handle, a wire, a session's set-up.
    for (const engine of ["sqlite", "mysql", "postgres"]) {
      expect(readdirSync(join(source, "engine", engine)), engine).toEqual(expect.arrayContaining(parts));
    }
  });

  test("no file has a name that says nothing", () => {
    const silent = [...graph.keys()].filter((path) =>
      /^(utils?|common|helpers?|misc)\./.test(basename(path)),
    );
    expect(silent.map(nameOf)).toEqual([]);
  });
});

describe("what is built on the library", () => {
  const manifest = JSON.parse(readFileSync(join(workspace, "packages/tesserae/package.json"), "utf8"));
  const published = Object.keys(manifest.exports).map((entry) => entry.replace(/^\./, "tesserae"));

  test.each(["apps", "bench"])("%s uses its published entries only", (folder) => {
    const wrong = findSources(join(workspace, folder)).flatMap((path) =>
      readImports(path)
        .filter((name) => {
          if (/^tesserae(\/|$)/.test(name)) return !published.includes(name);
          return name.startsWith(".") && resolve(dirname(path), name).startsWith(join(workspace, "packages"));
        })
        .map((name) => `${relative(workspace, path)} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });
});
