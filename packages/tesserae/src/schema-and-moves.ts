/** What works on the tables of several databases keeps out of each other's way: a change of the schema, moves, and the transactions of whoever calls them. */
import { isTesseraeError, TesseraeError } from "./base/errors.ts";
import { schemaChangesSince } from "./directory/schema-change.ts";
import type { ControlStore } from "./engine/control-store.ts";
import type { Moves } from "./move/moves.ts";
import { openTransaction } from "./session/open-transaction.ts";
import type { Synchronizer } from "./synchronizer/synchronizer.ts";

/** What works on several databases cannot be part of a transaction on one; on an embedded database it would wait for the caller's own lock. */
export function refuseInTransaction(operation: string): void {
  const open = openTransaction();
  if (open === undefined) return;
  throw new TesseraeError(
    "TRANSACTION_OPEN",
    `${operation} works on several databases and cannot be part of the transaction that is open on ${open.target.name}. Call it before the transaction, or after it.`,
    { ...open.target.place, operation },
  );
}

/** Rows move to tables that the target has, all of them, and as this process knows them. */
export async function refuseIncomplete(synchronizer: Synchronizer, shard: number): Promise<void> {
  const [unknown] = await synchronizer.unknownOn(shard);
  if (unknown !== undefined)
    throw new TesseraeError(
      "MOVE_SCHEMA",
      `Shard ${shard} has the federated table "${unknown}", which this process's schema does not know: its rows would be left behind. Let a process with the newer schema move, or drop the table if nobody uses it any more.`,
      { cluster: "shards", shard, table: unknown },
    );
  const [missing] = await synchronizer.missingOn(shard);
  if (missing === undefined) return;
  const unseen =
    missing.kind === "guard"
      ? " If it is there, this login may not see it: on MariaDB and MySQL it needs the TRIGGER right."
      : "";
  throw new TesseraeError(
    "MOVE_SCHEMA",
    `Shard ${shard} lacks the ${missing.kind} of "${missing.table}" that the schema says. Bring all shards to the schema first: await fed.schema.apply(), or "tesserae schema apply".${unseen}`,
    { cluster: "shards", shard, table: missing.table },
  );
}

export async function refuseWhileChanging(control: ControlStore): Promise<void> {
  const since = await schemaChangesSince(control);
  if (since === undefined) return;
  throw new TesseraeError(
    "MOVE_SCHEMA",
    `The schema is being changed since ${since}. Move when that has ended; if nobody is at it any more, finish it: await fed.schema.apply(), or "tesserae schema apply".`,
    { cluster: "main", operation: "moves" },
  );
}

/** A move knows the tables that were there when it began. */
export async function refuseWhileMoving(
  handles: Iterable<{ readonly moves: Pick<Moves, "underWay"> }>,
): Promise<void> {
  for (const { moves } of handles) {
    const [move] = await moves.underWay().catch((error: unknown) => {
      if (isTesseraeError(error, "SCHEMA_NOT_APPLIED")) return [];
      throw error;
    });
    if (move === undefined) continue;
    throw new TesseraeError(
      "MOVE_UNDER_WAY",
      `The schema cannot be changed while ${move.what} moves from shard ${move.from} to shard ${move.to} (move ${move.id}, ${move.step}). Wait for it, or abort it.`,
      { operation: "schema.apply", federation: move.federation },
    );
  }
}
