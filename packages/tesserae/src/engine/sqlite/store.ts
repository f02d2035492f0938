/**
 * What all databases opened on one SQLite file (or one database in memory) share within a process: the write gate. SQLite has one writer a
 * file; waiting for one's turn in a fair queue is quicker than meeting each other at the file's lock.
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { Semaphore } from "../../base/semaphore.ts";
import { Handle, type SchemaVersion, type Synchronous } from "./handle.ts";

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

/** What the stores of one file share. */
interface FileState {
  readonly gate: Semaphore;
  readonly schema: SchemaVersion;
}

const files = new Map<string, WeakRef<FileState>>();

const newState = (): FileState => ({ gate: new Semaphore(1), schema: { current: 0 } });

function stateOf(path: string): FileState {
  let state = files.get(path)?.deref();
  if (state === undefined) {
    state = newState();
    files.set(path, new WeakRef(state));
  }
  return state;
}

export function fileStore(path: string, settings: StoreSettings): Store {
  const state = stateOf(path);
  const open = (role: "writer" | "reader", statementCacheEntries: number) =>
    new Handle({ path, role, statementCacheEntries, schema: state.schema, ...settings });
  return {
    settings,
    gate: state.gate,
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
  const { gate, schema } = newState();
  return {
    settings,
    gate,
    openWriter: (statementCacheEntries) => {
      handle ??= new Handle({ path: ":memory:", role: "writer", statementCacheEntries, schema, ...settings });
      return handle;
    },
    closeWriter: () => {},
    openReader: undefined,
  };
}
