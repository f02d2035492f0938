import type { EngineCapabilities } from "../contract.ts";

export const postgresCapabilities: EngineCapabilities = Object.freeze({
  returning: { insert: true, update: true, delete: true },
  cascadesFireTriggers: true,
  transactionalDdl: true,
  concurrentWriters: true,
  // The protocol counts a statement's parameters in sixteen bits.
  parametersMax: 65_535,
  forUpdate: " for update",
  forShare: " for share",
  insertIgnore: { verb: "", suffix: " on conflict do nothing" },
  upsert: "on conflict",
  raisedNumber: "returning",
  exactDecimals: true,
  averageDigits: 100,
  nullsFirst: false,
  nullsClause: true,
});
