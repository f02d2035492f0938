/** Stops a statement by the protocol's own request, on a connection that is opened for it: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS */
import type { Client } from "pg";

/** How long the server may take to take the order. */
const CANCEL_MS = 2_000;

/** What `pg` has and its declarations leave out. */
interface CancelConnection {
  once(event: "connect" | "sslconnect" | "end" | "error", listener: (error?: Error) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  connect(port: number, host: string): void;
  cancel(processId: number, secretKey: unknown): void;
  requestSsl(): void;
  readonly ssl: unknown;
  readonly stream: { destroy(): void };
}

type Internals = {
  readonly connection: CancelConnection;
  readonly host: string;
  readonly port: number;
  readonly processID: number;
  readonly secretKey: unknown;
};

/**
 * `messenger` is a client of the same server that was not connected yet. The server closes its connection when the signal was sent, so that it cannot hit a statement that is
 * sent afterwards: while it waits for a command, the server drops it.
 */
export function cancelStatement(messenger: Client, running: object): Promise<void> {
  const { connection, host, port } = messenger as unknown as Internals;
  const { processID, secretKey } = running as Internals;
  return new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      clearTimeout(timer);
      connection.stream.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = setTimeout(
      () =>
        settle(new Error(`The server did not take the order to stop a statement within ${CANCEL_MS} ms.`)),
      CANCEL_MS,
    );
    const cancel = () => connection.cancel(processID, secretKey);
    connection.on("error", settle);
    connection.once("end", () => settle());
    connection.once("connect", () => (connection.ssl ? connection.requestSsl() : cancel()));
    connection.once("sslconnect", cancel);
    if (host.startsWith("/")) connection.connect(`${host}/.s.PGSQL.${port}` as unknown as number, host);
    else connection.connect(port, host);
  });
}
