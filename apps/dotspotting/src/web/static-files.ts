import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const publicFolder = new URL("../../public/", import.meta.url);

/** Every file that browsers may ask for, by the end of its address: the application's own, and those of its packages. */
const known: Readonly<Record<string, () => URL>> = {
  "style.css": () => new URL("style.css", publicFolder),
  "map.js": () => new URL("map.js", publicFolder),
  "map-style.js": () => new URL("map-style.js", publicFolder),
  "upload.js": () => new URL("upload.js", publicFolder),
  "operator.js": () => new URL("operator.js", publicFolder),
  "icon.svg": () => new URL("icon.svg", publicFolder),
  "maplibre-gl.mjs": () => fromPackage("maplibre-gl/dist/maplibre-gl.mjs"),
  "maplibre-gl-worker.mjs": () => fromPackage("maplibre-gl/dist/maplibre-gl-worker.mjs"),
  "maplibre-gl.css": () => fromPackage("maplibre-gl/dist/maplibre-gl.css"),
  "instrument-sans-latin.woff2": () => fromFont("latin-wght-normal"),
  "instrument-sans-latin-ext.woff2": () => fromFont("latin-ext-wght-normal"),
};

const types: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  mjs: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
  woff2: "font/woff2",
};

export interface StaticFile {
  readonly type: string;
  readonly tag: string;
  readonly plain: Uint8Array<ArrayBuffer>;
  /** Compressed by gzip; undefined for what is compressed already. */
  readonly compressed: Uint8Array<ArrayBuffer> | undefined;
}

/** Reads each file once and keeps it, compressed too. `fresh` reads it anew each time, for work on the files themselves. */
export class StaticFiles {
  readonly #fresh: boolean;
  readonly #read = new Map<string, Promise<StaticFile>>();

  constructor(options: { fresh?: boolean } = {}) {
    this.#fresh = options.fresh ?? false;
  }

  find(name: string): Promise<StaticFile> | undefined {
    if (!Object.hasOwn(known, name)) return undefined;
    let file = this.#fresh ? undefined : this.#read.get(name);
    if (!file) {
      file = readStatic(name);
      this.#read.set(name, file);
    }
    return file;
  }
}

async function readStatic(name: string): Promise<StaticFile> {
  const plain = new Uint8Array(await readFile(known[name]!()));
  const ending = name.split(".").at(-1)!;
  const compressed = ending === "woff2" ? undefined : new Uint8Array(await promisify(gzip)(plain));
  const tag = `"${createHash("sha256").update(plain).digest("base64url").slice(0, 16)}"`;
  return { type: types[ending]!, tag, plain, compressed };
}

function fromPackage(path: string): URL {
  return new URL(import.meta.resolve(path));
}

function fromFont(part: string): URL {
  const folder = fromPackage("@fontsource-variable/instrument-sans/package.json");
  return new URL(`files/instrument-sans-${part}.woff2`, folder);
}
