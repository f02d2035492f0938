/**
 * The guard on SQLite: three triggers a federated table (move-protocol). A write transaction holds the lock of the whole database, so reading
 * the residence is already locking it.
 *
 * The WHEN clause is the whole cost of a write that belongs here: the state of the key's point, or else of the range around it, is `here`.
 * Only another answer runs the body, which refuses the write or, in state `leaving`, logs it.
 *
 * Triggers see no session, so the mover shows itself by a row in `tesserae_mover` with the token of the residence that it works under, set and
 * deleted inside its own transaction: nobody else ever sees it, and it opens the residences of that token alone.
 */

import type { LogicalType } from "../../schema/logical-type.ts";
import type { FederationModel, TableModel } from "../../schema/model.ts";
import { logTableName, residenceTableName } from "../control-tables.ts";
import { quoteIdentifier, quoteText } from "./ddl.ts";

const MOVER_TABLE = "tesserae_mover";

const CREATE_MOVER_TABLE = `create table if not exists ${MOVER_TABLE} (token INTEGER not null primary key) strict, without rowid`;

/** The row of one mover, seen by its own transaction alone. */
export function passSqliteGuard(token: bigint): {
  readonly open: readonly string[];
  readonly close: readonly string[];
} {
  return {
    open: [CREATE_MOVER_TABLE, `insert into ${MOVER_TABLE} (token) values (${token})`],
    close: [`delete from ${MOVER_TABLE} where token = ${token}`],
  };
}

type Row = "new" | "old";

export function createSqliteGuard(table: TableModel, federation: FederationModel): string[] {
  const guard = new GuardText(table, federation);
  return [
    CREATE_MOVER_TABLE,
    guard.trigger("insert", guard.isElsewhere("new"), [
      guard.refuse("new"),
      guard.log("new"),
      ...guard.logReplaced("insert"),
    ]),
    guard.trigger("update", `${guard.keyChanges()} or ${guard.isElsewhere("old")}`, [
      guard.refuseKeyChange(),
      guard.refuse("old"),
      guard.log("old"),
      guard.log("new", guard.primaryKeyChanges()),
      ...guard.logReplaced("update"),
    ]),
    guard.trigger("delete", guard.isElsewhere("old"), [guard.refuse("old"), guard.log("old")]),
  ];
}

/** The pieces of SQL that the triggers of one table are made of. */
class GuardText {
  readonly #table: TableModel;
  readonly #keyType: LogicalType;
  readonly #keyColumn: string;
  readonly #residence: string;
  readonly #logTable: string;

  constructor(table: TableModel, federation: FederationModel) {
    this.#table = table;
    this.#keyType = federation.key;
    this.#keyColumn = quoteIdentifier(table.keyColumn as string);
    this.#residence = quoteIdentifier(residenceTableName(federation.name));
    this.#logTable = quoteIdentifier(logTableName(federation.name));
  }

  trigger(event: "insert" | "update" | "delete", when: string, body: readonly string[]): string {
    const name = quoteIdentifier(`tesserae_guard_${this.#table.name}_${event}`);
    const statements = body.map((statement) => `  ${statement};`).join("\n");
    return `create trigger if not exists ${name} before ${event} on ${quoteIdentifier(this.#table.name)} when ${when}\nbegin\n${statements}\nend`;
  }

  isElsewhere(row: Row): string {
    return `${this.#residenceOf(row, "state")} is not 'here'`;
  }

  keyChanges(): string {
    return `new.${this.#keyColumn} is not old.${this.#keyColumn}`;
  }

  primaryKeyChanges(): string {
    return this.#table.primaryKey
      .map(quoteIdentifier)
      .map((name) => `new.${name} is not old.${name}`)
      .join(" or ");
  }

  refuseKeyChange(): string {
    return `select ${this.#raise("'key_change'", "old")} where ${this.keyChanges()}`;
  }

  refuse(row: Row): string {
    const reason = `iif(${this.#residenceOf(row, "state")} is null, 'no_residence', 'not_here')`;
    return `select ${this.#raise(reason, row)} where ${this.#residenceOf(row, "state")} is not 'leaving' and not ${this.#moverIsAtWork(row)}`;
  }

  log(row: Row, condition = "1"): string {
    const values = [`${row}.${this.#keyColumn}`, quoteText(this.#table.name), this.#primaryKeyJson(row)];
    return `${this.#insertLog()} select ${values.join(", ")} where (${condition}) and ${this.#logs(row)}`;
  }

  /**
   * REPLACE deletes the rows that are in the way of a unique key, and at a plain SQL prompt no delete trigger hears of it (`recursive_triggers`
   * is off there). So while a key is leaving, the rows that could be replaced are logged too: one entry too many does no harm.
   */
  logReplaced(event: "insert" | "update"): string[] {
    const table = quoteIdentifier(this.#table.name);
    return this.#table.uniques.map(({ columns }) => {
      const same = columns
        .map(quoteIdentifier)
        .map((name) => `${table}.${name} = new.${name}`)
        .join(" and ");
      const changes =
        event === "insert"
          ? "1"
          : columns
              .map(quoteIdentifier)
              .map((name) => `new.${name} is not old.${name}`)
              .join(" or ");
      const values = [
        `${table}.${this.#keyColumn}`,
        quoteText(this.#table.name),
        this.#primaryKeyJson(table),
      ];
      return `${this.#insertLog()} select ${values.join(", ")} from ${table} where (${changes}) and ${same} and ${this.#logs("new")}`;
    });
  }

  #insertLog(): string {
    return `insert into ${this.#logTable} (key_value, table_name, primary_key)`;
  }

  #logs(row: Row): string {
    return `${this.#residenceOf(row, "state")} = 'leaving' and not ${this.#moverIsAtWork(row)}`;
  }

  /** A column of the point of the row's key, or else of the range that holds it; null when there is neither. */
  #residenceOf(row: Row, column: "state" | "token"): string {
    const key = `${row}.${this.#keyColumn}`;
    const point = `select ${column} from ${this.#residence} where kind = 'p' and low = ${key}`;
    // Ranges do not overlap: the last one that begins at or before the key holds it, or none does.
    const range = `select iif(high is null or ${key} < high, ${column}, null) from ${this.#residence} where kind = 'r' and low <= ${key} order by low desc limit 1`;
    return `coalesce((${point}), (${range}))`;
  }

  #moverIsAtWork(row: Row): string {
    return `exists (select 1 from ${MOVER_TABLE} where token = ${this.#residenceOf(row, "token")})`;
  }

  #raise(reason: string, row: Row): string {
    const key = asText(`${row}.${this.#keyColumn}`, this.#keyType);
    return `raise(abort, 'TESSERAE_GUARD:' || ${reason} || ':${this.#table.name}:' || ${key})`;
  }

  /** The primary key's values in its own order: a JSON array. Integers as numbers, bytes in hexadecimal, everything else as its text. */
  #primaryKeyJson(source: string): string {
    const values = this.#table.primaryKey.map((name) => {
      const type = this.#table.column.get(name)?.type as LogicalType;
      return jsonValue(`${source}.${quoteIdentifier(name)}`, type);
    });
    return `json_array(${values.join(", ")})`;
  }
}

function jsonValue(expression: string, type: LogicalType): string {
  return type.kind === "uuid" || type.kind === "bytes" ? asText(expression, type) : expression;
}

/** As a person writes the value: a UUID with hyphens, bytes in hexadecimal. */
function asText(expression: string, type: LogicalType): string {
  if (type.kind === "bytes") return `lower(hex(${expression}))`;
  if (type.kind !== "uuid") return expression;
  const part = (start: number, length: number) => `hex(substr(${expression}, ${start}, ${length}))`;
  return `lower(${part(1, 4)} || '-' || ${part(5, 2)} || '-' || ${part(7, 2)} || '-' || ${part(9, 2)} || '-' || ${part(11, 6)})`;
}
