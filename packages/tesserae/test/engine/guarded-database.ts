/** A database with guarded tables of every key type, and its residences, for the tests of the guard. */
import type { TestEngine } from "@tesserae/test-support";
import { expect } from "vitest";
import type { Connection, EngineResult, GuardReason } from "../../src/engine/contract.ts";
import {
  logTableName,
  type ResidenceState,
  residenceTableName,
  shardControlTables,
} from "../../src/engine/control-tables.ts";
import { bigint, bytes, text, uuid } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import type { KeyValue, LogicalType } from "../../src/schema/logical-type.ts";
import type { TableModel } from "../../src/schema/model.ts";
import { federated } from "../../src/schema/table.ts";
import { OpenDatabase } from "./open-database.ts";

const columns = { id: bigint(), body: text(40).default("note") };

const schema = defineSchema({
  federations: { users: bigint(), accounts: bigint(), blogs: text(60), devices: uuid(), blobs: bytes(20) },
  tables: {
    users_notes: federated(
      "user_id",
      { user_id: bigint(), ...columns },
      { federation: "users", unique: [["user_id", "body", "id"]] },
    ),
    users_remarks: federated(
      "user_id",
      {
        user_id: bigint(),
        id: bigint(),
        note_id: bigint().references("users_notes", { onDelete: "cascade" }),
      },
      { federation: "users" },
    ),
    accounts_notes: federated("user_id", { user_id: bigint(), ...columns }, { federation: "accounts" }),
    blogs_notes: federated("user_id", { user_id: text(60), ...columns }, { federation: "blogs" }),
    devices_notes: federated("user_id", { user_id: uuid(), ...columns }, { federation: "devices" }),
    blobs_notes: federated("user_id", { user_id: bytes(20), ...columns }, { federation: "blobs" }),
  },
});
export const { model } = schema;

export interface ResidenceValues {
  readonly kind?: "p" | "r";
  readonly low: KeyValue;
  readonly high?: KeyValue | null;
  readonly state: ResidenceState;
  readonly token?: bigint;
}

export interface LogEntry {
  readonly key: unknown;
  readonly table: unknown;
  readonly primaryKey: readonly unknown[];
}

export class GuardedDatabase implements AsyncDisposable {
  readonly open: OpenDatabase;

  private constructor(open: OpenDatabase) {
    this.open = open;
  }

  static async of(engine: TestEngine, connectionsMax = 10): Promise<GuardedDatabase> {
    const open = await OpenDatabase.of(engine, { connectionsMax });
    const guarded = new GuardedDatabase(open);
    const { cascadesFireTriggers } = open.engine.dialect.capabilities;
    const tables = [...model.tables.values()].filter(
      ({ name }) => cascadesFireTriggers || name !== "users_remarks",
    );
    await open.createTables(...shardControlTables(model.federations.values()), ...tables);
    await guarded.createGuards();
    return guarded;
  }

  async createGuards(): Promise<void> {
    const present = await this.open.column(this.open.engine.dialect.listTablesSql);
    for (const table of model.tables.values()) {
      if (!present.includes(table.name)) continue;
      const federation = model.federations.get(table.federation as string);
      if (federation !== undefined)
        await this.open.execute(this.open.engine.dialect.createGuard(table, federation));
    }
  }

  /** Plain SQL with `?` for driver values. */
  sql(text: string, parameters: readonly unknown[] = [], on?: Connection): Promise<EngineResult> {
    return this.open.run(text, parameters, on);
  }

  insert(federation: string, key: KeyValue, id: bigint, on?: Connection): Promise<EngineResult> {
    return this.sql(
      `insert into ${federation}_notes (user_id, id) values (?, ?)`,
      [this.encode(federation, key), id],
      on,
    );
  }

  encode(federation: string, key: KeyValue): unknown {
    return this.open.engine.dialect.codec(this.#keyType(federation)).encode(key);
  }

  /** Writes a residence, or another state of it. */
  async setResidence(federation: string, values: ResidenceValues, on?: Connection): Promise<void> {
    const { kind = "p", low, high = null, state, token = 0n } = values;
    const table = residenceTableName(federation);
    const encodedLow = this.encode(federation, low);
    const encodedHigh = high === null ? null : this.encode(federation, high);
    const updated = await this.sql(
      `update ${table} set high = ?, state = ?, token = ?, epoch = epoch + 1 where kind = ? and low = ?`,
      [encodedHigh, state, token, kind, encodedLow],
      on,
    );
    if (updated.affectedRows !== 0n) return;
    await this.sql(
      `insert into ${table} (kind, low, high, epoch, state, token) values (?, ?, ?, 1, ?, ?)`,
      [kind, encodedLow, encodedHigh, state, token],
      on,
    );
  }

  async ids(federation: string): Promise<bigint[]> {
    const ids = await this.open.column(`select id from ${federation}_notes order by id`);
    return ids.map((id) => BigInt(id as bigint));
  }

  async log(federation: string): Promise<LogEntry[]> {
    const { rows } = await this.sql(
      `select key_value, table_name, primary_key from ${logTableName(federation)} order by id`,
    );
    const codec = this.open.engine.dialect.codec(this.#keyType(federation));
    return rows.map((row) => ({
      key: codec.decode(row["key_value"]),
      table: row["table_name"],
      primaryKey: JSON.parse(String(row["primary_key"])) as unknown[],
    }));
  }

  async expectRefused(
    work: Promise<unknown>,
    expected: { readonly reason: GuardReason; readonly table?: string; readonly key?: string },
  ): Promise<void> {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error, "the guard let it pass").toBeDefined();
    const { code, guard, fatal } = this.open.engine.dialect.classify(error);
    expect({ code, fatal, ...guard }, String(error)).toMatchObject({
      code: "GUARD_REFUSED",
      fatal: false,
      ...expected,
    });
  }

  #keyType(federation: string): LogicalType {
    return (model.tables.get(`${federation}_notes`) as TableModel).column.get("user_id")?.type as LogicalType;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.open[Symbol.asyncDispose]();
  }
}
