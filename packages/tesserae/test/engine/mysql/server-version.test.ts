/** What differs on MySQL, which no test here runs: what can be said without it. */
import { freshDatabases, whyUnavailable } from "@tesserae/test-support";
import mysqlDriver from "mysql2";
import { describe, expect, test } from "vitest";
import { mysqlDialect } from "../../../src/engine/mysql/dialect.ts";
import { greetingOf, parseServerVersion, serverTooOld } from "../../../src/engine/mysql/server-version.ts";

const serverError = (errno: number, message: string): Error =>
  Object.assign(new Error(message), { errno, sqlState: "HY000" });

describe("a server's greeting", () => {
  test.each([
    ["8.0.36", "MySQL", [8, 0, 36]],
    ["8.4.3-cluster", "MySQL", [8, 4, 3]],
    ["9.1.0", "MySQL", [9, 1, 0]],
    ["8.0.35-27 Percona Server", "MySQL", [8, 0, 35]],
    ["10.11.14-MariaDB-0+deb12u2", "MariaDB", [10, 11, 14]],
    ["5.5.5-10.6.16-MariaDB-log", "MariaDB", [10, 6, 16]],
    ["11.4.2-MariaDB", "MariaDB", [11, 4, 2]],
  ])("%s is %s", (text, product, version) => {
    expect(parseServerVersion(text)).toEqual({ product, version });
    expect(serverTooOld(text, "mysql://db/dots")).toBeUndefined();
  });

  test.each([
    ["8.0.28", "MySQL 8.0.28"],
    ["5.7.44-log", "MySQL 5.7.44"],
    ["10.5.23-MariaDB", "MariaDB 10.5.23"],
    ["5.5.5-10.3.39-MariaDB", "MariaDB 10.3.39"],
  ])("%s is too old", (text, name) => {
    expect(serverTooOld(text, "mysql://db/dots")).toMatchObject({
      code: "SERVER_VERSION",
      message: expect.stringContaining(name),
    });
  });

  test("that says something else is let pass", () => {
    for (const text of ["", "TiDB", "vitess"]) expect(serverTooOld(text, "x")).toBeUndefined();
  });

  test.skipIf(whyUnavailable("mysql") !== undefined)("is known from the driver", async () => {
    await using databases = await freshDatabases("mysql", 1);
    const client = mysqlDriver.createConnection(databases.urls[0] as string);
    await new Promise<void>((resolve, reject) =>
      client.query("select 1", (error) => (error === null ? resolve() : reject(error))),
    );
    expect(parseServerVersion(greetingOf(client))?.product).toBe("MariaDB");
    client.destroy();
  });
});

test("MySQL's own errors have the library's codes", () => {
  const codeOf = (errno: number, message = "") => mysqlDialect.classify(serverError(errno, message)).code;
  expect(codeOf(1064, "… right syntax to use near 'returning `id`' at line 1")).toBe("RETURNING_UNSUPPORTED");
  expect(codeOf(1064, "… right syntax to use near 'from returning' at line 1")).toBe("QUERY_FAILED");
  expect(codeOf(3572)).toBe("LOCK_TIMEOUT");
  expect(codeOf(3101)).toBe("SERIALIZATION");
  expect(codeOf(3032)).toBe("CONNECT_FAILED");
  expect(codeOf(4031)).toBe("CONNECTION_LOST");
  expect(codeOf(1290, "… is running with the --super-read-only option …")).toBe("SERVER_READ_ONLY");
  const check = serverError(3819, "Check constraint 'notes_done_check' is violated.");
  expect(mysqlDialect.classify(check)).toMatchObject({
    code: "CONSTRAINT_CHECK",
    constraint: "notes_done_check",
  });
  const unique = serverError(1062, "Duplicate entry 'a' for key 'parents.name'");
  expect(mysqlDialect.classify(unique)).toMatchObject({ code: "CONSTRAINT_UNIQUE", constraint: "name" });
});
