import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { createApp } from "./app.ts";
import type { Services } from "./web/environment.ts";

/** A server that answers. */
export interface RunningServer {
  readonly port: number;
  /** Takes no more connections, lets the requests under way finish, and cuts those off that take longer than `graceMs`. */
  close(graceMs?: number): Promise<void>;
}

/** An upload may take this long as a whole. */
const requestMsMax = 30 * 60_000;

/** Starts to listen. Port 0 takes any free port. Rejects if the port is taken. */
export function startServer(
  services: Services,
  where: { port: number; host?: string | undefined },
): Promise<RunningServer> {
  const app = createApp(services);
  return new Promise((resolve, reject) => {
    const options = { fetch: app.fetch, port: where.port, ...(where.host ? { hostname: where.host } : {}) };
    const server = serve(options, () => {
      server.off("error", reject);
      const { port } = server.address() as AddressInfo;
      resolve({ port, close: (graceMs = 10_000) => closeServer(server, graceMs) });
    }) as Server;
    server.requestTimeout = requestMsMax;
    server.once("error", reject);
  });
}

function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}
