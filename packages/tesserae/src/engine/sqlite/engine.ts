/** The factory of the embedded engine, and how a SQLite file is named. */
import { realpathSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { TesseraeError } from "../../base/errors.ts";
import { expandEnvironment } from "../address.ts";
import type { Database, DatabaseAddress, Engine, PoolOptions } from "../contract.ts";
import { sqliteDialect } from "./dialect.ts";
import type { Synchronous } from "./handle.ts";
import { SqliteDatabase } from "./pool.ts";
import { fileStore, memoryStore, type Store, type StoreSettings } from "./store.ts";

export interface SqliteOptions {
  /** A path, `sqlite:path`, `file:path`, a `file:///…` URL, or `:memory:`. `${NAME}` is taken from the environment. */
  readonly path: string;
  /**
   * `full` (the default): a commit is on the disk when it returns. `normal`: after a power cut the last commits may be missing, the file stays
   * whole; commits are several times faster.
   */
  readonly synchronous?: Synchronous;
  /** Page cache of each connection, in KiB. Default 8 192. */
  readonly cacheKib?: number;
  /** How long a statement waits for the lock of another process, in ms; then LOCK_TIMEOUT. Default 10 000. */
  readonly lockTimeoutMs?: number;
}

const SYNCHRONOUS: readonly unknown[] = ["extra", "full", "normal", "off"] satisfies Synchronous[];

/**
 * A SQLite database: a file, made with its folder when it is first used, or a database in memory that lives as long as the returned engine.
 * Control state is kept in a second file beside it (`dots.control.db` beside `dots.db`). Needs nothing but Node. CONFIG_INVALID when the path or an option
 * is not of the expected form.
 *
 * @example
 * ```ts
 * import { sqlite } from "tesserae";
 *
 * const main = sqlite("data/dots.db");
 * const quick = sqlite({ path: "data/dots.db", synchronous: "normal", lockTimeoutMs: 2_000 });
 * ```
 */
export function sqlite(target: string | SqliteOptions): Engine {
  const options = typeof target === "string" ? { path: target } : target;
  const settings = checkSettings(options);
  const path = readPath(options.path);
  return path === MEMORY ? memoryEngine(settings) : fileEngine(path, settings);
}

const MEMORY = ":memory:";

class SqliteEngine implements Engine {
  readonly name = "sqlite";
  readonly dialect = sqliteDialect;
  readonly address: DatabaseAddress;
  readonly inMemory: boolean;
  readonly #folder: string | undefined;
  readonly #store: Store;
  readonly #makeControl: () => Engine;
  #control: Engine | undefined;

  /** `makeControl` is undefined for an engine that is a control database itself. */
  constructor(
    address: DatabaseAddress,
    store: Store,
    makeControl: (() => Engine) | undefined,
    folder?: string,
  ) {
    this.inMemory = folder === undefined;
    this.#folder = folder;
    this.address = Object.freeze(address);
    this.#store = store;
    this.#makeControl = makeControl ?? (() => this);
  }

  control(): Engine {
    this.#control ??= this.#makeControl();
    return this.#control;
  }

  open(options: PoolOptions): Database {
    return new SqliteDatabase(this, this.#store, options);
  }

  async freeBytes(): Promise<number | undefined> {
    if (this.#folder === undefined) return undefined;
    const { bavail, bsize } = await statfs(this.#folder);
    return bavail * bsize;
  }
}

function fileEngine(path: string, settings: StoreSettings, isControl = false): Engine {
  const absolute = realPath(path);
  const url = `sqlite:${absolute}`;
  const address = { identity: url, server: url, display: url };
  const control = isControl ? undefined : () => fileEngine(controlPath(absolute), settings, true);
  return new SqliteEngine(address, fileStore(absolute, settings), control, dirname(absolute));
}

let memoryCount = 0;

function memoryEngine(settings: StoreSettings, isControl = false): Engine {
  memoryCount += 1;
  const identity = `sqlite::memory:#${memoryCount}`;
  const address = { identity, server: identity, display: "sqlite::memory:" };
  return new SqliteEngine(
    address,
    memoryStore(settings),
    isControl ? undefined : () => memoryEngine(settings, true),
  );
}

/** `dots.db` → `dots.control.db`, in the same folder. */
function controlPath(path: string): string {
  const extension = extname(path);
  return join(dirname(path), `${basename(path, extension)}.control${extension || ".db"}`);
}

function readPath(text: unknown): string {
  const form = "Write a path, sqlite:path, file:path or :memory:.";
  if (typeof text !== "string" || text.trim() === "")
    throw new TesseraeError("CONFIG_INVALID", `The path of a SQLite database is empty or no text. ${form}`);
  const expanded = expandEnvironment(text);
  const path = expanded.replace(/^sqlite:(?:\/\/)?/i, "");
  if (path === MEMORY) return MEMORY;
  if (/^file:\/\//i.test(path)) return fileUrlPath(path, form);
  const plain = path.replace(/^file:/i, "");
  // SQLite's own URIs carry options behind a question mark; here they are options of the engine.
  if (plain === "" || (plain !== path && plain.includes("?"))) throw invalidPath(expanded, form);
  return plain;
}

function fileUrlPath(url: string, form: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw invalidPath(url, form);
  }
}

function invalidPath(text: string, form: string): TesseraeError {
  return new TesseraeError("CONFIG_INVALID", `"${text}" names no SQLite database. ${form}`);
}

/** The real path, also of a file that is not there yet: two names of one file are one database. */
function realPath(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || dirname(absolute) === absolute) throw error;
    return join(realPath(dirname(absolute)), basename(absolute));
  }
}

function checkSettings(options: SqliteOptions): StoreSettings {
  const { synchronous = "full", cacheKib = 8_192, lockTimeoutMs = 10_000 } = options;
  const invalid = (problem: string) =>
    new TesseraeError("CONFIG_INVALID", `The options of a SQLite database: ${problem}.`);
  if (!SYNCHRONOUS.includes(synchronous)) throw invalid("synchronous is extra, full, normal or off");
  if (!Number.isSafeInteger(cacheKib) || cacheKib < 0) throw invalid("cacheKib is a whole number of KiB");
  if (!(lockTimeoutMs >= 0 && lockTimeoutMs <= 2 ** 31 - 1))
    throw invalid("lockTimeoutMs is a number of milliseconds");
  return Object.freeze({ synchronous, cacheKib, lockTimeoutMs });
}
