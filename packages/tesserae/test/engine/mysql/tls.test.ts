/** TLS options reach the driver: what a connection is encrypted with, and which certificates it refuses. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PrivateServer, startMariaDb, whyUnavailable } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Engine, POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { mysql } from "../../../src/engine/mysql/engine.ts";

describe.skipIf(whyUnavailable("mysql") !== undefined)("TLS on mysql", () => {
  let server: PrivateServer;
  let folder: string;
  let url: string;

  beforeAll(async () => {
    server = await startMariaDb({ tls: true });
    url = await server.createDatabase();
    folder = mkdtempSync(join(tmpdir(), "tesserae-tls-"));
    writeFileSync(join(folder, "ca.pem"), server.certificate as string);
  });

  afterAll(async () => {
    await server?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  /** The cipher of the connection; empty when it is not encrypted. */
  async function cipherOf(engine: Engine): Promise<string> {
    const database = engine.open({ ...POOL_DEFAULTS, acquireTimeoutMs: 5_000 });
    try {
      const { rows } = await database.run({ sql: "show session status like 'Ssl_cipher'", parameters: [] });
      return String(rows[0]?.["Value"]);
    } finally {
      await database.close();
    }
  }

  const options = () => {
    const { hostname, port, username, password, pathname } = new URL(url);
    return {
      host: hostname,
      port: Number(port),
      user: username,
      password: decodeURIComponent(password),
      database: pathname.slice(1),
    };
  };

  test("is off unless said", async () => {
    expect(await cipherOf(mysql(url))).toBe("");
  });

  test("with a trusted certificate, by options and by URL", async () => {
    const ca = server.certificate as string;
    expect(await cipherOf(mysql({ ...options(), tls: { ca } }))).not.toBe("");
    expect(await cipherOf(mysql(`${url}?ssl-ca=${join(folder, "ca.pem")}`))).not.toBe("");
    expect(await cipherOf(mysql(`${url}?ssl-mode=VERIFY_CA&ssl-ca=${join(folder, "ca.pem")}`))).not.toBe("");
  });

  test("without checking, when that is asked for", async () => {
    expect(await cipherOf(mysql(`${url}?ssl-mode=REQUIRED`))).not.toBe("");
    expect(await cipherOf(mysql({ ...options(), tls: { rejectUnauthorized: false } }))).not.toBe("");
  });

  test("refuses a certificate that nobody trusts", async () => {
    for (const target of [mysql(`${url}?ssl=true`), mysql({ ...options(), tls: true })]) {
      await expect(cipherOf(target)).rejects.toMatchObject({ code: "CONNECT_FAILED" });
    }
  });

  test("refuses a server of another name", async () => {
    const ca = server.certificate as string;
    const other = { ...options(), host: "127.0.0.2", tls: { ca } };
    // Bound to 127.0.0.1 alone, or reached under a name that is not in the certificate: no connection either way.
    await expect(cipherOf(mysql(other))).rejects.toMatchObject({ code: "CONNECT_FAILED" });
  });
});
