/** Why a database refused, on every engine: each reason raised by the database itself. And: no message, of whatever error, holds a password. */
import { createServer, type Server } from "node:net";
import { inspect } from "node:util";
import { forEachEngine, type TestEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/base/error-codes.ts";
import { TesseraeError } from "../../src/base/errors.ts";
import { type Connection, type Engine, POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { shardControlTables } from "../../src/engine/control-tables.ts";
import { toEngineError } from "../../src/engine/engine-error.ts";
import { bigint, int, json, text } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import { federated, global } from "../../src/schema/table.ts";
import { engineAt, OpenDatabase } from "./open-database.ts";

const { model } = defineSchema({
  key: bigint(),
  tables: {
    parents: global({ id: int(), name: text(20).unique(), details: json().nullable() }),
    children: global({ id: int(), parent_id: int().references("parents").nullable() }),
    notes: federated("user_id", { user_id: bigint(), id: int() }),
  },
});
const federation = [...model.federations.values()][0]!;

async function openSchema(engine: TestEngine): Promise<OpenDatabase> {
  const open = await OpenDatabase.of(engine);
  await open.createTables(...shardControlTables([federation]), ...model.tables.values());
  await open.run("insert into parents (id, name) values (1, 'ada'), (2, 'bob')");
  await open.run("insert into children (id, parent_id) values (1, 1)");
  return open;
}

async function raised(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => {
      throw new Error("nothing was raised");
    },
    (error: unknown) => error,
  );
}

async function expectCode(open: OpenDatabase, code: ErrorCode, work: Promise<unknown>): Promise<void> {
  const error = await raised(work);
  const reason = open.engine.dialect.classify(error);
  expect(reason, String(error)).toMatchObject({ code, fatal: false });
}

forEachEngine((engine) => {
  describe(`reasons on ${engine.name}`, () => {
    test("constraints, each by its own code", async () => {
      await using open = await openSchema(engine);
      const cases: [ErrorCode, string][] = [
        ["CONSTRAINT_UNIQUE", "insert into parents (id, name) values (1, 'eve')"],
        ["CONSTRAINT_UNIQUE", "insert into parents (id, name) values (3, 'ada')"],
        ["CONSTRAINT_UNIQUE", "update parents set name = 'bob' where id = 1"],
        ["CONSTRAINT_NOT_NULL", "insert into parents (id, name) values (3, null)"],
        ["CONSTRAINT_NOT_NULL", "insert into parents (id) values (3)"],
        ["CONSTRAINT_FOREIGN_KEY", "insert into children (id, parent_id) values (2, 9)"],
        ["CONSTRAINT_FOREIGN_KEY", "update children set parent_id = 9 where id = 1"],
        ["CONSTRAINT_FOREIGN_KEY", "delete from parents where id = 1"],
      ];
      for (const [code, sql] of cases) await expectCode(open, code, open.run(sql));
      expect(await open.column("select id from parents order by id")).toHaveLength(2);
    });

    test("a check, and the constraint's name where the engine tells it", async () => {
      await using open = await openSchema(engine);
      await open.execute(["create table checked (n int, constraint n_is_small check (n < 10))"]);
      const error = await raised(open.run("insert into checked (n) values (11)"));
      const reason = open.engine.dialect.classify(error);
      expect(reason).toMatchObject({ code: "CONSTRAINT_CHECK", constraint: "n_is_small" });
      const unique = await raised(open.run("insert into parents (id, name) values (3, 'ada')"));
      expect(open.engine.dialect.classify(unique).constraint).toMatch(/parents.name/);
    });

    test("a statement that the engine does not understand, and a table that is not there", async () => {
      await using open = await openSchema(engine);
      await expectCode(open, "QUERY_FAILED", open.run("selekt 1"));
      await expectCode(open, "QUERY_FAILED", open.run("select nothing from parents"));
      const { dialect } = open.engine;
      const missing = await raised(open.run("select * from nowhere"));
      expect(toEngineError(missing, dialect, {})).toMatchObject({ code: "QUERY_FAILED", cause: missing });
      const control = await raised(open.run("select * from tesserae_directory_default"));
      expect(toEngineError(control, dialect, { shard: 2 })).toMatchObject({
        code: "SCHEMA_NOT_APPLIED",
        shard: 2,
      });
    });

    test("the guard's refusal, with reason, table and key", async () => {
      await using open = await openSchema(engine);
      const notes = model.tables.get("notes")!;
      await open.execute(open.engine.dialect.createGuard(notes, federation));
      const error = await raised(open.run("insert into notes (user_id, id) values (?, 1)", [42n]));
      expect(open.engine.dialect.classify(error)).toEqual({
        code: "GUARD_REFUSED",
        guard: { reason: "no_residence", table: "notes", key: "42" },
        fatal: false,
      });
      const raisedByUs = toEngineError(error, open.engine.dialect, { shard: 1 });
      expect(raisedByUs).toMatchObject({
        code: "GUARD_REFUSED",
        retryable: true,
        reason: "no_residence",
        table: "notes",
        key: "42",
        shard: 1,
      });
    });

    test("an error of ours stays what it is", async () => {
      await using open = await OpenDatabase.of(engine);
      const ours = new TesseraeError("CLOSED", "closed");
      expect(open.engine.dialect.classify(ours)).toEqual({ code: "CLOSED", fatal: false });
      expect(toEngineError(ours, open.engine.dialect, { shard: 3 })).toMatchObject({
        code: "CLOSED",
        shard: 3,
      });
    });
  });

  if (engine.name === "sqlite") return;
  const isMysql = engine.name === "mysql";

  async function two(open: OpenDatabase): Promise<[Connection, Connection]> {
    const connections = await Promise.all([open.database.acquire(), open.database.acquire()]);
    for (const connection of connections) await connection.begin({ isolation: "repeatable read" });
    return connections as [Connection, Connection];
  }

  describe(`waits and conflicts on ${engine.name}`, () => {
    test("a deadlock ends one of the two", async () => {
      await using open = await openSchema(engine);
      const [a, b] = await two(open);
      await open.run("update parents set name = 'a1' where id = 1", [], a);
      await open.run("update parents set name = 'b2' where id = 2", [], b);
      const waits = open.run("update parents set name = 'a2' where id = 2", [], a);
      const closes = open.run("update parents set name = 'b1' where id = 1", [], b);
      const outcomes = await Promise.allSettled([
        waits.finally(() => a.rollback()),
        closes.finally(() => b.rollback()),
      ]);
      const errors = outcomes.flatMap((outcome) =>
        outcome.status === "rejected" ? [outcome.reason as unknown] : [],
      );
      expect(errors.map((error) => open.engine.dialect.classify(error).code)).toContain("DEADLOCK");
      a.release();
      b.release();
    });

    test("a lock that does not come in time", async () => {
      await using open = await openSchema(engine);
      const [a, b] = await two(open);
      await open.run("update parents set name = 'a1' where id = 1", [], a);
      const limit = isMysql ? "set innodb_lock_wait_timeout = 1" : "set local lock_timeout = '200ms'";
      await b.run({ sql: limit, parameters: [], prepare: false });
      await expectCode(open, "LOCK_TIMEOUT", open.run("update parents set name = 'b1' where id = 1", [], b));
      a.release();
      b.release();
      const [c, d] = await two(open);
      await open.run("update parents set name = 'c1' where id = 1", [], c);
      const noWait = open.run("select id from parents where id = 1 for update nowait", [], d);
      await expectCode(open, "LOCK_TIMEOUT", noWait);
      c.release(true);
      d.release(true);
    });

    test("a transaction that saw an older row", async () => {
      await using open = await openSchema(engine);
      const [a, b] = await two(open);
      if (isMysql) {
        // Only since 10.6.18 and 11.x, and there the default since 11.6.2.
        const { rows } = await open.run("show variables like 'innodb_snapshot_isolation'");
        if (rows.length === 0) return;
        await b.run({ sql: "set innodb_snapshot_isolation = on", parameters: [], prepare: false });
      }
      await open.run("select * from parents", [], b);
      await open.run("update parents set name = 'a1' where id = 1", [], a);
      await a.commit();
      await expectCode(open, "SERIALIZATION", open.run("update parents set name = 'b1' where id = 1", [], b));
      a.release();
      b.release(true);
    });

    test("a value that is out of range or of another type", async () => {
      await using open = await openSchema(engine);
      const cases = [
        "insert into parents (id, name) values (9999999999, 'x')",
        `insert into parents (id, name) values (3, '${"x".repeat(21)}')`,
        isMysql
          ? "insert into parents (id, name) values ('five', 'x')"
          : "insert into parents (id, name) values ('five'::text::int, 'x')",
      ];
      for (const sql of cases) await expectCode(open, "VALUE_INVALID", open.run(sql));
    });
  });

  describe(`connecting on ${engine.name}`, () => {
    const PASSWORD = "open:sesame/never@shown";

    async function expectSecret(work: Promise<unknown>, code: ErrorCode): Promise<TesseraeError> {
      const error = await raised(work);
      expect(error).toBeInstanceOf(TesseraeError);
      expect(error).toMatchObject({ code });
      const ours = error as TesseraeError;
      const told = [
        ours.message,
        ours.stack,
        JSON.stringify(ours),
        String(ours.cause),
        inspect(ours, { depth: 9 }),
      ].join("\n");
      expect(told).not.toContain(PASSWORD);
      expect(told).not.toContain(encodeURIComponent(PASSWORD));
      return ours;
    }

    async function withUrl(
      change: (url: URL) => void,
      work: (engine: Engine) => Promise<void>,
    ): Promise<void> {
      await using fresh = await engine.databases(1);
      const url = new URL(fresh.urls[0] as string);
      url.password = encodeURIComponent(PASSWORD);
      change(url);
      const target = await engineAt(url.href);
      for (const shown of [target.address.display, target.address.identity, target.address.server])
        expect(decodeURIComponent(shown)).not.toContain(PASSWORD);
      expect(inspect(target, { depth: 9 })).not.toContain(PASSWORD);
      await work(target);
    }

    const run = async (target: Engine, options = {}) => {
      const database = target.open({ ...POOL_DEFAULTS, ...options });
      try {
        await database.run({ sql: "select 1", parameters: [] });
      } finally {
        await database.close(100);
      }
    };

    test("with a wrong password", async () => {
      await withUrl(
        () => {},
        async (target) => {
          const error = await expectSecret(run(target), "CONNECT_FAILED");
          expect(error.message).toContain(target.address.display);
          expect(error.message).toMatch(/Correct the user, the password/);
          expect(error.retryable).toBe(false);
        },
      );
    });

    test("where nobody listens", async () => {
      const server = await listening(() => {});
      const { port } = server.address() as { port: number };
      await new Promise((resolve) => server.close(resolve));
      await withUrl(
        (url) => {
          url.port = String(port);
        },
        async (target) => {
          await expectSecret(run(target), "CONNECT_FAILED");
        },
      );
    });

    test("where the host has no address", async () => {
      await withUrl(
        (url) => {
          url.hostname = "no-such-host.invalid";
        },
        async (target) => {
          await expectSecret(run(target), "CONNECT_FAILED");
        },
      );
    });

    test("where nobody answers, within the time-out", async () => {
      const sockets = new Set<{ destroy(): void }>();
      const server = await listening((socket) => sockets.add(socket));
      try {
        const { port } = server.address() as { port: number };
        await withUrl(
          (url) => {
            url.port = String(port);
          },
          async (target) => {
            const begun = performance.now();
            await expectSecret(run(target, { connectTimeoutMs: 150 }), "CONNECT_FAILED");
            expect(performance.now() - begun).toBeLessThan(5_000);
          },
        );
      } finally {
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
      }
    });

    test("to a database that is not there", async () => {
      await using fresh = await engine.databases(1);
      const url = new URL(fresh.urls[0] as string);
      url.pathname = "/not_there";
      const error = await raised(run(await engineAt(url.href)));
      expect(error).toMatchObject({ code: "CONNECT_FAILED" });
      expect((error as Error).message).toContain("not_there");
      expect((error as Error).message).not.toContain(decodeURIComponent(url.password));
    });
  });
});

function listening(onConnection: (socket: { destroy(): void }) => void): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer(onConnection);
    server.listen(0, "127.0.0.1", () => resolve(server));
  });
}
