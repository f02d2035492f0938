/**
 * A TCP proxy before a server, which can behave like a bad network: it breaks connections, swallows what is sent, holds it back, lets nobody
 * in. It listens on a free port of 127.0.0.1 from `TcpProxy.to` until `close`.
 *
 * After `swallow` neither side of a connection hears anything of the other, not even that it ended, and the server keeps what the client had
 * open. `heal` resets such connections: what a network does that comes back and has forgotten them.
 */
import { once } from "node:events";
import { createServer, type Server, Socket } from "node:net";

export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

/** open: forwards. stalled: holds everything until it is healed. swallowing: loses everything. refusing: new connections are reset. */
export type ProxyState = "open" | "stalled" | "swallowing" | "refusing";

/** One connection: the client's half and the server's. */
class ProxiedConnection {
  readonly #halves: readonly [Socket, Socket];
  #swallows = false;
  #stalled = false;
  /** A half ended while the other was not to hear of it. */
  #endedUnheard = false;

  constructor(client: Socket, server: Socket, onClose: () => void) {
    this.#halves = [client, server];
    this.#forward(client, server);
    this.#forward(server, client);
    let open = 2;
    for (const half of this.#halves) {
      half.once("close", () => {
        open -= 1;
        if (open === 0) onClose();
      });
    }
  }

  #forward(from: Socket, to: Socket): void {
    // The error is followed by `close`, which says all there is to say.
    from.on("error", () => {});
    from.on("data", (bytes) => {
      if (this.#swallows || to.destroyed) return;
      if (!to.write(bytes)) from.pause();
    });
    from.on("drain", () => {
      if (!this.#stalled) to.resume();
    });
    from.on("end", () => {
      if (!this.#swallows) to.end();
    });
    from.on("close", (broken) => {
      if (this.#swallows || this.#stalled) this.#endedUnheard = true;
      else if (broken) to.resetAndDestroy();
      else if (!to.writableEnded) to.end();
    });
  }

  /** Both sides see a reset. */
  reset(): void {
    for (const half of this.#halves) half.resetAndDestroy();
  }

  swallow(): void {
    this.#swallows = true;
    // What was held back is lost, too.
    this.#resume();
  }

  stall(): void {
    this.#stalled = true;
    for (const half of this.#halves) half.pause();
  }

  heal(): void {
    if (this.#swallows || this.#endedUnheard) this.reset();
    else this.#resume();
  }

  #resume(): void {
    this.#stalled = false;
    for (const half of this.#halves) half.resume();
  }
}

export class TcpProxy implements AsyncDisposable {
  readonly port: number;
  readonly host = "127.0.0.1";
  readonly #listener: Server;
  #target: ProxyTarget;
  readonly #connections = new Set<ProxiedConnection>();
  /** Accepted while the network lost everything: they lead nowhere. */
  readonly #lost = new Set<Socket>();
  #state: ProxyState = "open";

  private constructor(listener: Server, target: ProxyTarget) {
    this.#listener = listener;
    this.#target = target;
    const address = listener.address();
    if (address === null || typeof address === "string") throw new Error("The proxy has no port.");
    this.port = address.port;
    listener.on("connection", (client) => this.#accept(client));
  }

  static async to(target: ProxyTarget): Promise<TcpProxy> {
    const listener = createServer({ allowHalfOpen: true, noDelay: true });
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    // A proxy alone keeps no process alive.
    listener.unref();
    return new TcpProxy(listener, target);
  }

  /** A proxy before the server of a database's URL. */
  static toUrl(url: string): Promise<TcpProxy> {
    const { hostname, port } = new URL(url);
    return TcpProxy.to({ host: hostname, port: Number(port) });
  }

  get state(): ProxyState {
    return this.#state;
  }

  /** Connections that are open, those that lead nowhere included. */
  get connections(): number {
    return this.#connections.size + this.#lost.size;
  }

  /** A database's URL, by way of this proxy. */
  url(url: string): string {
    const rewritten = new URL(url);
    rewritten.hostname = this.host;
    rewritten.port = `${this.port}`;
    return rewritten.href;
  }

  /** Resets every connection. New ones are taken as before. */
  drop(): void {
    for (const connection of this.#connections) connection.reset();
    for (const client of this.#lost) client.resetAndDestroy();
  }

  /** Loses everything from now on: connections are half-open, and new ones are accepted and never answered. */
  swallow(): void {
    this.#state = "swallowing";
    for (const connection of this.#connections) connection.swallow();
  }

  /** Holds back everything from now on; nothing is lost. */
  stall(): void {
    this.#state = "stalled";
    for (const connection of this.#connections) connection.stall();
  }

  /** New connections lead elsewhere from now on, as when a name or an address is given to another server; those that are open stay. */
  leadTo(target: ProxyTarget): void {
    this.#target = target;
  }

  /** Resets new connections from now on; those that are open stay. */
  refuse(): void {
    this.#state = "refusing";
  }

  /** Forwards again. What was held back arrives, half-open connections are reset. */
  heal(): void {
    this.#state = "open";
    for (const connection of this.#connections) connection.heal();
    for (const client of this.#lost) client.resetAndDestroy();
  }

  async close(): Promise<void> {
    if (!this.#listener.listening) return;
    this.#listener.close();
    this.drop();
    await once(this.#listener, "close");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(client: Socket): void {
    if (this.#state === "refusing") {
      client.on("error", () => {});
      client.resetAndDestroy();
      return;
    }
    if (this.#state === "swallowing") {
      client.on("error", () => {});
      client.resume();
      this.#lost.add(client);
      client.once("close", () => this.#lost.delete(client));
      return;
    }
    const server = new Socket({ allowHalfOpen: true });
    server.setNoDelay(true);
    server.connect(this.#target);
    const connection = new ProxiedConnection(client, server, () => this.#connections.delete(connection));
    this.#connections.add(connection);
    if (this.#state === "stalled") connection.stall();
  }
}
