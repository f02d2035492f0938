import type { EngineCapabilities } from "../contract.ts";

/** MariaDB's. MySQL has no RETURNING at all: there a statement with it is refused by the server. */
export const mysqlCapabilities: EngineCapabilities = Object.freeze({
  returning: { insert: true, update: false, delete: true },
  cascadesFireTriggers: false,
  transactionalDdl: false,
  concurrentWriters: true,
  // The protocol counts a statement's parameters in sixteen bits.
  parametersMax: 65_535,
  forUpdate: " for update",
  forShare: " lock in share mode",
  insertIgnore: { verb: " ignore", suffix: "" },
  upsert: "on duplicate key",
  raisedNumber: "last insert id",
  exactDecimals: true,
  averageDigits: 65,
  nullsFirst: true,
  nullsClause: false,
});
