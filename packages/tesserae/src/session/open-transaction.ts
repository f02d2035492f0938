/**
 * The transaction that is open in this async context. It is kept in an AsyncLocalStorage around the closure of `transaction().execute(…)`, so that a
 * statement of another session inside the closure is seen: on the same shard it joins the transaction's connection, elsewhere it is refused,
 * since no transaction spans two servers. A transaction begun with `startTransaction()` has no closure and cannot be seen here.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { TesseraeError } from "../base/errors.ts";
import type { RoutedConnection, Traveller } from "./routed-connection.ts";

const storage = new AsyncLocalStorage<RoutedConnection>();

/** Runs `body` with this connection as the context's own. */
export function inConnectionContext<T>(connection: RoutedConnection, body: () => Promise<T>): Promise<T> {
  return storage.run(connection, body);
}

/** The connection of the transaction open around the caller, if there is one. */
export function openTransaction(): RoutedConnection | undefined {
  const connection = storage.getStore();
  return connection?.inTransaction === true ? connection : undefined;
}

/**
 * The open transaction's connection, when it is at `target`; TRANSACTION_OTHER_SHARD when it is elsewhere. A read on a replica joins the transaction of its primary,
 * and so sees what that has written; but nothing of the primary's joins a transaction on a replica, which is read only and may lag behind. Where main is the one shard every key is
 * on it, which says nothing about tomorrow: there another key is refused with TRANSACTION_OTHER_KEY. A replica was chosen for the key that began there, and may lack another one's rows:
 * REPLICA_WITHOUT_KEY.
 */
export async function joinTransaction(
  open: RoutedConnection,
  traveller: Traveller,
): Promise<RoutedConnection> {
  refuseOther(open, traveller);
  if (open.target.isReplica) await open.admit(traveller);
  return open;
}

function refuseOther(
  open: RoutedConnection,
  { tenant, way: { place }, routed: { target } }: Traveller,
): void {
  const { name } = target;
  if (open.target.isReplica && !target.isReplica) {
    throw new TesseraeError(
      "TRANSACTION_OTHER_SHARD",
      `A transaction is open on a replica of ${open.target.name}; this statement belongs to ${name} itself. End the transaction first, or use the replica's session in it.`,
      place,
    );
  }
  if (open.target.name === name) {
    if (open.tenant === tenant || !open.target.isOnlyShard) return;
    throw new TesseraeError(
      "TRANSACTION_OTHER_KEY",
      `A transaction of ${open.tenant} is open; this statement belongs to ${tenant}. Both live on this one database today, but on many they will not always: ` +
        "give each key a transaction of its own.",
      place,
    );
  }
  throw new TesseraeError(
    "TRANSACTION_OTHER_SHARD",
    `A transaction is open on ${open.target.name}; this statement belongs to ${name}. No transaction spans both: end it first, or run the statement outside its closure.`,
    place,
  );
}
