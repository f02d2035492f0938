/** Two databases with the same guarded tables, between which rows move: for the tests of row transfer. */
import {
  ENGINE_NAMES,
  type EngineName,
  freshDatabases,
  type TestEngine,
  whyUnavailable,
} from "@tesserae/test-support";
import type { Connection } from "../../src/engine/contract.ts";
import { residenceTableName, shardControlTables } from "../../src/engine/control-tables.ts";
import { RowTransfer, type TransferRow } from "../../src/engine/row-transfer.ts";
import type { KeyValue } from "../../src/schema/logical-type.ts";
import type { SchemaModel, TableModel } from "../../src/schema/model.ts";
import { OpenDatabase } from "./open-database.ts";

export interface PairNames {
  readonly source: EngineName;
  readonly target: EngineName;
}

/** Every engine to itself and to each other, as far as they are there. */
export function enginePairs(): PairNames[] {
  const there = ENGINE_NAMES.filter((name) => whyUnavailable(name) === undefined);
  return there.flatMap((source) => there.map((target) => ({ source, target })));
}

/** The second of a pair lives on another server. */
function engineOf(name: EngineName): TestEngine {
  return {
    name,
    databases: (count, options) => freshDatabases(name, count, options),
  };
}

export class TransferPair implements AsyncDisposable {
  readonly model: SchemaModel;
  readonly source: OpenDatabase;
  readonly target: OpenDatabase;
  readonly from: Connection;
  readonly to: Connection;
  readonly transfer: RowTransfer;

  private constructor(
    model: SchemaModel,
    ends: { source: OpenDatabase; target: OpenDatabase; from: Connection; to: Connection },
  ) {
    this.model = model;
    this.source = ends.source;
    this.target = ends.target;
    this.from = ends.from;
    this.to = ends.to;
    this.transfer = new RowTransfer(this.source.engine.dialect, this.target.engine.dialect);
  }

  static async of(names: PairNames, model: SchemaModel): Promise<TransferPair> {
    const source = await OpenDatabase.of(engineOf(names.source));
    const target = await OpenDatabase.of(engineOf(names.target));
    for (const open of [source, target]) await createAll(open, model);
    const from = await source.database.acquire();
    const to = await target.database.acquire();
    return new TransferPair(model, { source, target, from, to });
  }

  table(name: string): TableModel {
    return this.model.tables.get(name) as TableModel;
  }

  /** A residence at both ends. */
  async residence(federation: string, kind: "p" | "r", low: KeyValue, high: KeyValue | null = null) {
    for (const open of [this.source, this.target])
      await addResidence(open, this.model, { federation, kind, low, high });
  }

  /** Rows at the source, as they come with logical values. */
  async seed(table: TableModel, rows: readonly TransferRow[]): Promise<void> {
    const { dialect } = this.source.engine;
    await dialect.transfer.insert(this.from, table, rows);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.from.release();
    this.to.release();
    await this.source[Symbol.asyncDispose]();
    await this.target[Symbol.asyncDispose]();
  }
}

async function createAll(open: OpenDatabase, model: SchemaModel): Promise<void> {
  await open.createTables(...shardControlTables(model.federations.values()), ...model.tables.values());
  for (const table of model.tables.values()) {
    const federation = model.federations.get(table.federation as string);
    if (federation !== undefined) await open.execute(open.engine.dialect.createGuard(table, federation));
  }
}

export async function addResidence(
  open: OpenDatabase,
  model: SchemaModel,
  row: {
    readonly federation: string;
    readonly kind: "p" | "r";
    readonly low: KeyValue;
    readonly high?: KeyValue | null;
    readonly state?: string;
    readonly token?: bigint;
  },
): Promise<void> {
  const { dialect } = open.engine;
  const type = model.federations.get(row.federation)?.key;
  if (type === undefined) throw new Error(`There is no federation ${row.federation}.`);
  const { high = null, state = "here", token = 0n } = row;
  const name = dialect.quote(residenceTableName(row.federation));
  await open.run(`insert into ${name} (kind, low, high, epoch, state, token) values (?, ?, ?, 1, ?, ?)`, [
    row.kind,
    dialect.codec(type).encode(row.low),
    high === null ? null : dialect.codec(type).encode(high),
    state,
    token,
  ]);
}
