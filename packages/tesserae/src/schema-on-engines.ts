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

/** Clusters that the configuration may describe but this version does not run: refused, so that nobody believes that they are in use. */
export function refuseWhatCannotRunYet(topology: Topology<Engine>): void {
  const replicas =
    topology.replicas.length +
    [...topology.shards.values()].reduce((sum, shard) => sum + shard.replicas.length, 0);
  const cluster = replicas > 0 ? "replicas" : topology.tickets.length > 0 ? "tickets" : undefined;
  if (cluster === undefined) return;
  throw new TesseraeError(
    "CONFIG_NOT_AVAILABLE",
    `This version reads a ${cluster} block but does not use it yet: main plays the ${cluster}. Leave the block out.`,
    { cluster },
  );
}
