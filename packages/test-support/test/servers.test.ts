import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mysql from "mysql2/promise";
import pg from "pg";
import { describe, expect, test, vi } from "vitest";
import { type PrivateServer, startMariaDb, startPostgres, whyUnavailable } from "../src/index.ts";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function query(
  server: PrivateServer,
  url: string,
  statement: string,
  timeout_ms = 10_000,
): Promise<unknown> {
  if (server.engine === "mysql") {
    const connection = await mysql.createConnection({ uri: url, connectTimeout: timeout_ms });
    try {
      const [rows] = await connection.query({ sql: statement, timeout: timeout_ms });
      return rows;
    } finally {
      connection.destroy();
    }
  }
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: timeout_ms,
    query_timeout: timeout_ms,
  });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}

const starters = { mysql: startMariaDb, postgres: startPostgres } as const;

for (const engine of ["mysql", "postgres"] as const) {
  describe.skipIf(whyUnavailable(engine) !== undefined)(`a private ${engine} server`, () => {
    test("serves, survives a crash, freezes, and leaves nothing behind", async () => {
      const server = await starters[engine]();
      const { pid, folder } = server;
      const url = await server.createDatabase();
      await query(server, url, "create table dots (id int primary key)");
      await query(server, url, "insert into dots values (1)");

      await server.kill();
      expect(isAlive(pid)).toBe(false);
      await expect(query(server, url, "select id from dots")).rejects.toThrow();

      await server.restart();
      expect(server.pid).not.toBe(pid);
      expect(await query(server, url, "select id from dots")).toEqual([{ id: 1 }]);

      server.pause();
      await expect(query(server, url, "select id from dots", 400)).rejects.toThrow();
      server.resume();
      expect(await query(server, url, "select id from dots")).toEqual([{ id: 1 }]);

      await server.restart();
      expect(await query(server, url, "select id from dots")).toEqual([{ id: 1 }]);

      await server.dropDatabase(url);
      await expect(query(server, url, "select 1")).rejects.toThrow();

      const last = server.pid;
      await server.stop();
      await server.stop();
      expect(isAlive(last)).toBe(false);
      expect(existsSync(folder)).toBe(false);
    });

    test("dies with the process that started it, even one that is killed", async () => {
      const starter = engine === "mysql" ? "startMariaDb" : "startPostgres";
      const source = `import { ${starter} } from "@tesserae/test-support";
        const server = await ${starter}();
        console.log(JSON.stringify({ pid: server.pid, folder: server.folder }));
        setInterval(() => {}, 1000);`;
      const child = spawn(
        process.execPath,
        ["--conditions=tesserae-source", "--input-type=module", "-e", source],
        {
          cwd: import.meta.dirname,
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      const [line] = (await once(child.stdout, "data")) as [Buffer];
      const { pid, folder } = JSON.parse(line.toString()) as { pid: number; folder: string };
      expect(isAlive(pid)).toBe(true);
      child.kill("SIGKILL");
      await expect
        .poll(() => isAlive(pid) || existsSync(folder), { timeout: 15_000, interval: 100 })
        .toBe(false);
    });

    test("does not keep a process alive that has nothing else to do", async () => {
      const starter = engine === "mysql" ? "startMariaDb" : "startPostgres";
      const source = `import { ${starter} } from "@tesserae/test-support";
        const server = await ${starter}();
        console.log(server.pid);`;
      const child = spawn(
        process.execPath,
        ["--conditions=tesserae-source", "--input-type=module", "-e", source],
        {
          cwd: import.meta.dirname,
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      const [line] = (await once(child.stdout, "data")) as [Buffer];
      const [code] = await once(child, "exit");
      expect(code).toBe(0);
      await expect
        .poll(() => isAlive(Number(line.toString())), { timeout: 15_000, interval: 100 })
        .toBe(false);
    });

    test("takes encrypted connections when asked to", async () => {
      await using server = await starters[engine]({ tls: true });
      const ca = server.certificate ?? "";
      const trust = { ca, rejectUnauthorized: true };
      if (engine === "mysql") {
        const connection = await mysql.createConnection({ uri: server.adminUrl(), ssl: trust });
        const [rows] = await connection.query("show status like 'Ssl_cipher'");
        expect(rows).toEqual([{ Variable_name: "Ssl_cipher", Value: expect.stringMatching(/./) }]);
        await connection.end();
      } else {
        const client = new pg.Client({ connectionString: server.adminUrl(), ssl: trust });
        await client.connect();
        const { rows } = await client.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()");
        expect(rows).toEqual([{ ssl: true }]);
        await client.end();
      }
    });

    test("raises with the server's own words when it cannot start, and leaves no folder", async () => {
      const temporary = mkdtempSync(join(tmpdir(), "tesserae-test-"));
      chmodSync(temporary, 0o755);
      vi.stubEnv("TMPDIR", temporary);
      const wrong = { settings: { no_such_setting: "1" } };
      await expect(starters[engine](wrong)).rejects.toThrow(/no.such.setting/);
      expect(readdirSync(temporary)).toEqual([]);
      vi.unstubAllEnvs();
      rmSync(temporary, { recursive: true });
    });
  });
}
