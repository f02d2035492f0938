import type { EngineCapabilities } from "../contract.ts";

export const sqliteCapabilities: EngineCapabilities = Object.freeze({
  returning: { insert: true, update: true, delete: true },
  cascadesFireTriggers: true,
  transactionalDdl: true,
  concurrentWriters: false,
  // SQLITE_MAX_VARIABLE_NUMBER as Node's build has it.
  parametersMax: 32_766,
  // A write transaction begins with the write lock of the whole database: there is nothing left to lock.
  forUpdate: "",
  forShare: "",
  // Not `insert or ignore`, which also swallows rows that a NOT NULL or a check refuses.
  insertIgnore: { verb: "", suffix: " on conflict do nothing" },
  upsert: "on conflict",
  raisedNumber: "returning",
  exactDecimals: false,
  averageDigits: undefined,
  nullsFirst: true,
  nullsClause: true,
});
