import type { Kysely } from "kysely";
import type { MainDatabase, ShardDatabase } from "tesserae";
import type { schema } from "./schema.ts";

type Tables = (typeof schema)["$tables"];

/** The federation as this application uses it. */
export interface DotFederation {
  readonly main: Kysely<MainDatabase<Tables>>;
  at(userId: bigint): Kysely<ShardDatabase<Tables, "default">>;
  readonly tickets: {
    next(name: string): Promise<bigint>;
    take(name: string, count: number): Promise<bigint[]>;
  };
  readonly tenants: { add(key: bigint): Promise<unknown>; remove(key: bigint): Promise<unknown> };
  readonly schema: { apply(): Promise<unknown> };
  close(): Promise<void>;
}
