/** Rules that depend on which engines a federation uses. */
import { TesseraeError } from "./base/errors.ts";
import type { Engine } from "./engine/contract.ts";
import type { SchemaModel } from "./schema/model.ts";
import type { Topology } from "./topology/topology.ts";

/** SCHEMA_CASCADE for a cascade between federated tables where a shard's engine fires no triggers for it: the guard would not see those rows change. */
export function checkEngines(schema: SchemaModel, topology: Topology<Engine>): void {
  const blind = [...topology.shards.values()].find(
    ({ primary }) => !primary.dialect.capabilities.cascadesFireTriggers,
  );
  if (blind === undefined) return;
  for (const table of schema.tables.values()) {
    if (table.kind !== "federated") continue;
    for (const key of table.foreignKeys) {
      if (!changesRows(key.onDelete) && !changesRows(key.onUpdate)) continue;
      throw new TesseraeError(
        "SCHEMA_CASCADE",
        `The foreign key (${key.columns.join(", ")}) of table "${table.name}" cascades, and shard ${blind.id} runs on ${blind.primary.name}, whose cascades fire no triggers: ` +
          "a move would miss those rows. Leave onDelete and onUpdate out, and delete the rows in the application, children first.",
        { cluster: "shards", shard: blind.id, table: table.name, column: key.columns.at(-1) },
      );
    }
  }
}

function changesRows(action: string): boolean {
  return action === "cascade" || action === "set null";
}

/** CONFIG_REPLICA for a replica that can be none: its engine knows no replication, or is not its primary's. */
export function checkReplicas(topology: Topology<Engine>): void {
  checkReplicasOf("main", topology.main, topology.replicas, undefined);
  for (const { id, primary, replicas } of topology.shards.values())
    checkReplicasOf(`shard ${id}`, primary, replicas, id);
}

function checkReplicasOf(
  of: string,
  primary: Engine,
  replicas: readonly Engine[],
  shard: number | undefined,
): void {
  const place = { cluster: "replicas", shard };
  for (const { name, address, dialect } of replicas) {
    if (name !== primary.name)
      throw new TesseraeError(
        "CONFIG_REPLICA",
        `${address.display} is listed as a replica of ${of}, but runs on ${name}, and ${of} on ${primary.name}. A replica is a copy that the primary's own engine keeps: list servers of the same engine.`,
        place,
      );
    if (dialect.replication === undefined)
      throw new TesseraeError(
        "CONFIG_REPLICA",
        `${address.display} is listed as a replica of ${of}, but ${name} has no replication. Leave the block out: ${of} answers the reads of its replicas then.`,
        place,
      );
  }
}
