/** A key's residence as its shard has it: the point of the key, or else the range around it. One small read. */
import { RowCodec } from "../engine/control-store.ts";
import { type ResidenceState, residenceTable } from "../engine/control-tables.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { FederationModel } from "../schema/model.ts";
import type { DialectKit } from "./dialect-kit.ts";
import type { Target } from "./target.ts";
import type { StatementRunner } from "./way.ts";

export interface Residence {
  readonly state: ResidenceState;
  /** Of a range it is the range's. */
  readonly epoch: bigint;
}

interface Prepared {
  readonly sql: string;
  readonly codec: RowCodec;
}

export class ResidenceReader {
  readonly #federation: FederationModel;
  readonly #compare: (a: KeyValue, b: KeyValue) => number;
  readonly #prepared = new Map<DialectKit, Prepared>();

  constructor(federation: FederationModel, compare: (a: KeyValue, b: KeyValue) => number) {
    this.#federation = federation;
    this.#compare = compare;
  }

  /** Undefined where the shard has no residence for the key. */
  async read(target: Target, runner: StatementRunner, key: KeyValue): Promise<Residence | undefined> {
    const { sql, codec } = this.#for(target.kit);
    const low = codec.encode("low", key);
    try {
      const { rows } = await runner.run({ sql, parameters: [low, low], readOnly: true });
      const found = rows.map(
        (row) => codec.decodeRow(row) as unknown as Residence & { kind: "p" | "r"; high: KeyValue | null },
      );
      return (
        found.find(({ kind }) => kind === "p") ??
        found.find(({ high }) => high === null || this.#compare(key, high) < 0)
      );
    } catch (error) {
      throw toEngineError(error, target.kit.dialect, { ...target.place, sql, operation: "residence" });
    }
  }

  #for(kit: DialectKit): Prepared {
    let prepared = this.#prepared.get(kit);
    if (prepared === undefined) {
      const { dialect } = kit;
      const model = residenceTable(this.#federation);
      const select = `select kind, high, epoch, state from ${dialect.quote(model.name)} where`;
      // As the directory's look-up: the point by its primary key, and the last range that begins at or below the key.
      const sql =
        `select * from (${select} kind = 'p' and low = ?) as point ` +
        `union all select * from (${select} kind = 'r' and low <= ? order by low desc limit 1) as covering`;
      prepared = { sql: dialect.placeholders(sql), codec: new RowCodec(dialect, model) };
      this.#prepared.set(kit, prepared);
    }
    return prepared;
  }
}

/** Whether the guard lets writes pass there. */
export function takesWrites(residence: Residence | undefined): boolean {
  return residence?.state === "here" || residence?.state === "leaving";
}
