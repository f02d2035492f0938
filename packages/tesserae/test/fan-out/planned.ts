/** Plans of queries over the notes' schema, for each engine, and what they say. */
import { mysqlDialect } from "../../src/engine/mysql/dialect.ts";
import { postgresDialect } from "../../src/engine/postgres/dialect.ts";
import { sqliteDialect } from "../../src/engine/sqlite/dialect.ts";
import type { FanOutPlan } from "../../src/fan-out/fan-out-plan.ts";
import { planFanOut } from "../../src/fan-out/plan/plan-fan-out.ts";
import type { SchemaModel } from "../../src/schema/model.ts";
import { notes } from "../session/notes-schema.ts";
import { type Built, compile } from "../session/offline-kysely.ts";

const DIALECTS = { sqlite: sqliteDialect, mysql: mysqlDialect, postgres: postgresDialect } as const;
export type PlannedEngine = keyof typeof DIALECTS;

export function planned(
  query: Built,
  engine: PlannedEngine = "sqlite",
  schema: SchemaModel = notes.model,
  federation = "users",
): FanOutPlan {
  return planFanOut(query.toOperationNode() as never, { schema, federation, dialect: DIALECTS[engine] });
}

/** The shard's statement as text, with short names for its columns. */
export function shardSql(query: Built, engine: PlannedEngine = "sqlite", schema?: SchemaModel): string {
  return compile(engine, planned(query, engine, schema).statement)
    .sql.replaceAll("tesserae_", "c")
    .replaceAll('"', "");
}
