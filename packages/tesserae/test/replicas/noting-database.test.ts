/** When a write counts as one that the context's reads must see. */
import { expect, test } from "vitest";
import type { Connection, Database, Statement } from "../../src/engine/contract.ts";
import { postgresDialect } from "../../src/engine/postgres/dialect.ts";
import { postgresReplication } from "../../src/engine/postgres/replication.ts";
import { NotingDatabase } from "../../src/replicas/noting-database.ts";
import { WriteContexts } from "../../src/replicas/own-writes.ts";
import { Primary } from "../../src/replicas/primary.ts";

test("a write that its caller has given up is noted then, and once more when it ends", async () => {
  const running = Promise.withResolvers<never>();
  const connection = { run: () => running.promise, release: () => {} } as Partial<Connection> as Connection;
  const database = { acquire: async () => connection } as Partial<Database> as Database;
  const primary = new Primary("main", postgresReplication, postgresDialect, "primary", () => database);
  const contexts = new WriteContexts();
  const writes = contexts.current.of(primary);
  const noting = new NotingDatabase(database, primary, contexts);
  const abort = new AbortController();
  const held = await noting.acquire({ signal: abort.signal });
  const write: Statement = { sql: "update users", parameters: [] };
  const written = held.run(write).catch((error: unknown) => error);
  expect(writes.isUnasked).toBe(false);
  abort.abort();
  expect(writes.isUnasked).toBe(true);
  const { sinceMs } = writes;
  running.reject(new Error("lost"));
  await written;
  expect(writes.sinceMs).toBeGreaterThan(sinceMs);
});
