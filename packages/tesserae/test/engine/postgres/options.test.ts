/** What the factory understands, and what it tells the driver. Nothing is connected. */
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { postgres } from "../../../src/engine/postgres/engine.ts";
import { type PostgresOptions, readSettings } from "../../../src/engine/postgres/options.ts";

const refusal = (target: string | PostgresOptions) => {
  try {
    postgres(target);
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error("It was accepted.");
};

describe("the address", () => {
  test("names host, port and database, whoever logs in, and hides the password", () => {
    const { address } = postgres("postgres://app:s%40cret@DB-Main/dots");
    expect(address).toEqual({
      identity: "postgres://db-main:5432/dots",
      server: "postgres://db-main:5432",
      display: "postgres://app:***@db-main:5432/dots",
    });
    expect(
      postgres({ host: "db-main", user: "other", password: "x", database: "dots" }).address.identity,
    ).toBe(address.identity);
    expect(postgres("postgresql://db-main:5433/dots").address.identity).not.toBe(address.identity);
  });

  test("tells schemas of one database apart", () => {
    const { address } = postgres("postgres://db/dots?schema=users");
    expect(address.identity).toBe("postgres://db:5432/dots?schema=users");
    expect(postgres({ host: "db", database: "dots", schema: "users" }).address).toEqual(address);
  });

  test("knows a list of hosts in either form, schemas and all", () => {
    const { address } = postgres("postgres://app:s3cret@db-2:5433,db-1/dots?schema=users");
    expect(address).toEqual({
      identity: "postgres://db-1:5432,db-2:5433/dots?schema=users",
      server: "postgres://db-1:5432,db-2:5433",
      display: "postgres://app:***@db-2:5433,db-1:5432/dots?schema=users",
      hosts: [
        { identity: "postgres://db-1:5432/dots?schema=users", server: "postgres://db-1:5432" },
        { identity: "postgres://db-2:5433/dots?schema=users", server: "postgres://db-2:5433" },
      ],
    });
    const hosts = [{ host: "db-1" }, { host: "db-2", port: 5433 }];
    expect(postgres({ hosts, database: "dots", schema: "users" }).address.identity).toBe(address.identity);
  });

  test("is its own control engine, and opens nothing", async () => {
    const engine = postgres("postgres://127.0.0.1:1/dots");
    expect(engine.control()).toBe(engine);
    await engine.open(POOL_DEFAULTS).close();
  });
});

describe("secrets from the environment", () => {
  test("are taken in URLs and options", () => {
    process.env["TEST_POSTGRES_PASSWORD"] = "p@ss:word/";
    expect(readSettings("postgres://app:${TEST_POSTGRES_PASSWORD}@db/dots").password).toBe("p@ss:word/");
    expect(readSettings({ password: "${TEST_POSTGRES_PASSWORD}", database: "dots" }).client.password).toBe(
      "p@ss:word/",
    );
    delete process.env["TEST_POSTGRES_PASSWORD"];
    expect(refusal("postgres://app:${TEST_POSTGRES_PASSWORD}@db/dots").code).toBe("CONFIG_ENV_MISSING");
  });
});

describe("session settings", () => {
  test("are what the codecs rely on, and what the options say", () => {
    const { options } = readSettings({
      database: "dots",
      schema: 'odd "schema" name',
      statementTimeoutMs: 3000,
      lockTimeoutMs: 200,
    }).client;
    expect(options).toContain("-c TimeZone=UTC");
    expect(options).toContain("-c idle_in_transaction_session_timeout=60000");
    expect(options).toContain("-c statement_timeout=3000");
    expect(options).toContain("-c lock_timeout=200");
    expect(options).toContain('-c search_path="odd\\ ""schema""\\ name"');
  });

  test("may stand in the URL", () => {
    const { client } = readSettings(
      "postgres://db/dots?application_name=shop&lock_timeout=50&idle_in_transaction_session_timeout=0",
    );
    expect(client.application_name).toBe("shop");
    expect(client.options).toContain("-c lock_timeout=50");
    expect(client.options).toContain("-c idle_in_transaction_session_timeout=0");
  });
});

describe("TLS", () => {
  test("is off unless asked for", () => {
    expect(readSettings("postgres://db/dots").client.ssl).toBe(false);
    expect(readSettings("postgres://db/dots?sslmode=disable").client.ssl).toBe(false);
  });

  test("has libpq's modes", () => {
    expect(readSettings("postgres://db/dots?sslmode=require").client.ssl).toEqual({
      rejectUnauthorized: false,
    });
    expect(readSettings("postgres://db/dots?sslmode=verify-full").client.ssl).toEqual({
      rejectUnauthorized: true,
    });
    const authority = readSettings("postgres://db/dots?sslmode=verify-ca").client.ssl as {
      rejectUnauthorized: boolean;
      checkServerIdentity(): unknown;
    };
    expect(authority.rejectUnauthorized).toBe(true);
    expect(authority.checkServerIdentity()).toBeUndefined();
    expect(refusal("postgres://db/dots?sslmode=prefer")).toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("prefer"),
    });
  });

  test("reads certificates from files, and takes Node's own options", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tesserae-options-"));
    const path = join(folder, "ca.pem");
    writeFileSync(path, "the authority");
    expect(readSettings(`postgres://db/dots?sslrootcert=${path}`).client.ssl).toEqual({
      ca: "the authority",
      rejectUnauthorized: true,
    });
    await rm(folder, { recursive: true });
    expect(refusal(`postgres://db/dots?sslrootcert=${path}`)).toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining(path),
    });
    expect(readSettings({ database: "dots", tls: { ca: "x", servername: "db" } }).client.ssl).toEqual({
      ca: "x",
      servername: "db",
    });
  });
});

describe("what makes no sense is refused with CONFIG_INVALID", () => {
  const cases: readonly [string, string | PostgresOptions, string][] = [
    ["another scheme", "mysql://db/dots", "postgres://user:password@host:port/database"],
    ["no database", "postgres://db", "names no database"],
    ["an unknown parameter", "postgres://db/dots?pool_size=4", "pool_size"],
    ["a time that is none", "postgres://db/dots?lock_timeout=soon", "lockTimeoutMs"],
    ["a port that is none", { database: "dots", port: 70_000 }, "port"],
    [
      "hosts beside a host",
      { database: "dots", host: "a", hosts: [{ host: "b" }] },
      "hosts stands beside host",
    ],
    ["hosts that are no list", { database: "dots", hosts: [] }, "hosts is a list"],
    ["a host twice", "postgres://db-1,DB-1:5432/dots", "db-1:5432 twice"],
    ["an empty host", { database: "dots", host: "" }, "host"],
    ["TLS that is neither", { database: "dots", tls: "yes" as never }, "tls"],
    ["a password that is no text", { database: "dots", password: 5 as never }, "password"],
    ["a pooler that is none", "postgres://db/dots?pooler=session", 'pooler is "transaction"'],
    ["a schema by way of a pooler", "postgres://app@db/dots?pooler=transaction&schema=a", "set search_path"],
    [
      "a statement's limit by way of a pooler",
      { database: "dots", pooler: "transaction", statementTimeoutMs: 5 },
      "set statement_timeout",
    ],
    [
      "a lock's limit by way of a pooler",
      "postgres://db/dots?lock_timeout=5&pooler=transaction",
      "set lock_timeout",
    ],
    ["nothing", undefined as never, "URL or an object"],
  ];
  for (const [name, target, words] of cases) {
    test(name, () => {
      expect(refusal(target)).toMatchObject({
        code: "CONFIG_INVALID",
        message: expect.stringContaining(words),
      });
    });
  }

  test("without telling the password", () => {
    expect(refusal("postgres://app:s3cret@db").message).not.toContain("s3cret");
    expect(refusal("mysql://app:s3cret@db/x").message).not.toContain("s3cret");
  });
});
