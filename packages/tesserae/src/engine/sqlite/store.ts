/**
 * What all databases opened on one SQLite file (or one database in memory) share within a process: the write gate. SQLite has one writer a
 * file; waiting for one's turn in a fair queue is quicker than meeting each other at the file's lock.
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { Semaphore } from "../../base/semaphore.ts";
import { Handle, type Synchronous } from "./handle.ts";

export interface StoreSettings {
  readonly synchronous: Synchronous;
  readonly cacheKib: number;
  /** How long a statement or the begin of a transaction waits for another process's lock. */
  readonly lockTimeoutMs: number;
}

export interface Store {
  readonly settings: StoreSettings;
  readonly gate: Semaphore;
  openWriter(statementCacheEntries: number): Handle;
  closeWriter(handle: Handle): void;
  /** Undefined where there is but one connection, in memory: reads wait for it. */
  readonly openReader: ((statementCacheEntries: number) => Handle) | undefined;
}

const gates = new Map<string, WeakRef<Semaphore>>();

function gateOf(path: string): Semaphore {
  let gate = gates.get(path)?.deref();
  if (gate === undefined) {
    gate = new Semaphore(1);
    gates.set(path, new WeakRef(gate));
  }
  return gate;
}

export function fileStore(path: string, settings: StoreSettings): Store {
  const open = (role: "writer" | "reader", statementCacheEntries: number) =>
    new Handle({ path, role, statementCacheEntries, ...settings });
  return {
    settings,
    gate: gateOf(path),
    openWriter: (entries) => {
      mkdirSync(dirname(path), { recursive: true });
      return open("writer", entries);
    },
    closeWriter: (handle) => handle.close(),
    openReader: (entries) => open("reader", entries),
  };
}

/** The data lives as long as the store: closing a database does not end it. */
export function memoryStore(settings: StoreSettings): Store {
  let handle: Handle | undefined;
  return {
    settings,
    gate: new Semaphore(1),
    openWriter: (statementCacheEntries) => {
      handle ??= new Handle({ path: ":memory:", role: "writer", statementCacheEntries, ...settings });
      return handle;
    },
    closeWriter: () => {},
    openReader: undefined,
  };
}
