import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import mysql from "mysql2/promise";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { freshDatabases, TcpProxy, whyUnavailable } from "../src/index.ts";

/** A server that answers everything with itself, and counts who is there. */
let server: Server;
let atServer: Socket[];
let proxy: TcpProxy;

beforeEach(async () => {
  atServer = [];
  server = createServer((socket) => {
    atServer.push(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => socket.write(bytes));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  proxy = await TcpProxy.to({ host: "127.0.0.1", port });
});

afterEach(async () => {
  await proxy.close();
  for (const socket of atServer) socket.destroy();
  server.close();
});

/** A client with all it has heard. */
class Client {
  readonly socket: Socket;
  heard = "";
  ended: "open" | "end" | string = "open";

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("data", (bytes) => {
      this.heard += bytes;
    });
    this.socket.on("end", () => {
      this.ended = "end";
    });
    this.socket.on("error", (error) => {
      this.ended = (error as NodeJS.ErrnoException).code ?? error.message;
    });
  }

  async hears(text: string): Promise<void> {
    await expect.poll(() => this.heard, { interval: 2 }).toBe(text);
  }

  async ends(how: string): Promise<void> {
    await expect.poll(() => this.ended, { interval: 2 }).toBe(how);
  }
}

async function connected(): Promise<Client> {
  const client = new Client(proxy.port);
  const before = atServer.length;
  await expect.poll(() => atServer.length, { interval: 2 }).toBe(before + 1);
  return client;
}

/** Resolves when the socket is closed, with an error or without. */
function closed(socket: Socket | undefined): Promise<void> {
  return new Promise((resolve) => socket?.once("close", () => resolve()));
}

/** What nobody is to hear of shows in nothing one could wait for. */
async function passTime(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setTimeout(resolve, 20));
}

describe("a TCP proxy", () => {
  test("forwards both ways, large amounts too, and passes on an orderly end", async () => {
    const client = await connected();
    const text = "0123456789abcdef".repeat(200_000);
    client.socket.write(text);
    await expect.poll(() => client.heard.length).toBe(text.length);
    expect(client.heard).toBe(text);
    client.socket.end();
    await client.ends("end");
    await expect.poll(() => proxy.connections).toBe(0);
  });

  test("drops: both sides see a reset, and new connections pass", async () => {
    const client = await connected();
    client.socket.write("a");
    await client.hears("a");
    const closedAtServer = closed(atServer[0]);
    proxy.drop();
    await client.ends("ECONNRESET");
    await closedAtServer;
    const next = await connected();
    next.socket.write("b");
    await next.hears("b");
  });

  test("swallows: neither side hears anything, not even the other's end, until it is healed", async () => {
    const client = await connected();
    const other = await connected();
    proxy.swallow();
    client.socket.write("lost");
    const late = new Client(proxy.port);
    await once(late.socket, "connect");
    late.socket.write("lost");
    other.socket.destroy();
    (atServer[0] as Socket).write("lost");
    await passTime();
    expect([client.heard, client.ended, late.heard, late.ended]).toEqual(["", "open", "", "open"]);
    expect(atServer.map((socket) => socket.destroyed)).toEqual([false, false]);
    const closedAtServer = atServer.map(closed);
    proxy.heal();
    await client.ends("ECONNRESET");
    await late.ends("ECONNRESET");
    await Promise.all(closedAtServer);
    const next = await connected();
    next.socket.write("b");
    await next.hears("b");
  });

  test("stalls: everything arrives later, of new connections too", async () => {
    const client = await connected();
    proxy.stall();
    client.socket.write("a");
    const late = new Client(proxy.port);
    late.socket.write("b");
    await passTime();
    expect([client.heard, late.heard]).toEqual(["", ""]);
    proxy.heal();
    await client.hears("a");
    await late.hears("b");
  });

  test("refuses new connections and keeps the old ones", async () => {
    const client = await connected();
    proxy.refuse();
    const late = new Client(proxy.port);
    await late.ends("ECONNRESET");
    client.socket.write("a");
    await client.hears("a");
    proxy.heal();
    const next = await connected();
    next.socket.write("b");
    await next.hears("b");
  });

  test("resets clients whose server is not there", async () => {
    server.close();
    const client = new Client(proxy.port);
    await client.ends("ECONNRESET");
  });

  for (const engine of ["mysql", "postgres"] as const) {
    test.skipIf(whyUnavailable(engine) !== undefined)(`stands before a database of ${engine}`, async () => {
      await using databases = await freshDatabases(engine, 1);
      const [url = ""] = databases.urls;
      await using before = await TcpProxy.toUrl(url);
      const through = before.url(url);
      expect(new URL(through).port).toBe(`${before.port}`);
      expect(new URL(through).password).toBe(new URL(url).password);
      if (engine === "mysql") {
        const connection = await mysql.createConnection(through);
        connection.on("error", () => {});
        expect((await connection.query("select 1 as one"))[0]).toEqual([{ one: 1 }]);
        before.drop();
        await expect(connection.query("select 1 as one")).rejects.toThrow();
      } else {
        const client = new pg.Client(through);
        client.on("error", () => {});
        await client.connect();
        expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
        before.drop();
        await expect(client.query("select 1 as one")).rejects.toThrow();
      }
    });
  }
});
