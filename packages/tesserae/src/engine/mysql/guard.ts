/**
 * The guard on MariaDB and MySQL: three triggers a federated table (move-protocol). Each takes a shared lock on the residence row of the row's key, which
 * InnoDB holds to the end of the transaction, and not less: `rollback to savepoint` keeps it too. A freeze needs that row exclusively, so it waits for
 * the key's writers, and what comes after it reads the new state.
 *
 * What a write costs here is what it costs MariaDB to run one SELECT by primary key inside a trigger: 8 µs in a loop on the server, where the read itself takes 1, and
 * several times that where client and server share a core's caches. Single rows go in at 0.83 of an unguarded table's rate over one connection, 0.71 over eight (MariaDB 10.11,
 * a flush at each commit, two threads of one core for both sides), 100 rows a statement at 0.75. Every form of the SELECT costs the same, and opening the tables of statements that
 * do not run costs nearly nothing; an empty trigger costs 0.91 to 0.96 already. A foreign key to a table of open keys takes the same lock for nothing (0.98), but knows no ranges, no log,
 * no `set foreign_key_checks = 0`, and no updates and deletes. So
 * - the usual case, a point in state `here`, is one expression; everything else stands behind it in the same body. It takes part only when
 *   it runs; procedures and more triggers would be opened and locked for each statement.
 * - within one statement a key is looked up once: its value and the statement's clock (`@@timestamp`, to the microsecond) are remembered in session variables.
 *   The lock is certainly held while the statement lasts; across statements nothing is believed, since a commit releases the lock and leaves
 *   variables as they are. Somebody who stops the session's clock (`set timestamp = …`) would make two statements one: the memory works only in
 *   sessions that the engine has set up (`@tesserae_session`), and costs a SQL prompt nothing but time. Updates and deletes also
 *   remember the database, since one such statement may change tables of two.
 *
 * The point is locked by its exact key. When there is none the range around the key is locked, and then the point looked for again: a
 * mover may have written it meanwhile. Inside a statement that writes, InnoDB makes every read of a trigger a locking one. Under READ COMMITTED the rows
 * alone are locked, as they should be. Under REPEATABLE READ a point that is not there leaves a lock on the gap where it would be: then whoever isolates a
 * key out of a range must lock the range's row first and write the point second, or it may wait for ever for transactions that keep coming.
 *
 * TRUNCATE, ALTER, LOAD into another table and an exchange fire no trigger, and neither do cascades of foreign keys (refused by the schema): whoever holds the privilege
 * DROP can empty a table past the guard. It puts no row on the wrong shard. XA PREPARE gives up shared locks: prepared transactions must not write federated tables.
 */
import { derivedName } from "../../schema/define-schema.ts";
import type { LogicalType } from "../../schema/logical-type.ts";
import type { FederationModel, TableModel } from "../../schema/model.ts";
import type { GuardReason } from "../contract.ts";
import { logTableName, residenceTableName } from "../control-tables.ts";
import { quoteIdentifier, quoteText } from "./ddl.ts";
import { GUARD_ERRNO } from "./errors.ts";

/** The mover shows itself by its token, and opens residences of that token alone; so a variable that is left behind does no harm. */
export function passMysqlGuard(token: bigint): {
  readonly open: readonly string[];
  readonly close: readonly string[];
} {
  return { open: [`set @tesserae_mover = ${token}`], close: ["set @tesserae_mover = null"] };
}

type Event = "insert" | "update" | "delete";
type Row = "new" | "old";

export function createMysqlGuard(table: TableModel, federation: FederationModel): string[] {
  const guard = new GuardText(table, federation);
  return [guard.onInsert(), guard.onUpdate(), guard.onDelete()];
}

/** The pieces of SQL that the triggers of one table are made of. */
class GuardText {
  readonly #table: TableModel;
  readonly #keyType: LogicalType;
  readonly #keyColumn: string;
  readonly #residence: string;
  readonly #logTable: string;
  readonly #federation: string;

  constructor(table: TableModel, federation: FederationModel) {
    this.#table = table;
    this.#keyType = federation.key;
    this.#keyColumn = quoteIdentifier(table.keyColumn as string);
    this.#residence = quoteIdentifier(residenceTableName(federation.name));
    this.#logTable = quoteIdentifier(logTableName(federation.name));
    this.#federation = federation.name;
  }

  onInsert(): string {
    const memory = new Memory("insert", this.#federation, `new.${this.#keyColumn}`);
    return this.#trigger(
      "insert",
      `if not (${memory.holds}) then
  if not (${this.#isHere("new")} and ${memory.remember}) then
${indent(this.#otherwise("new", memory, this.#log("new")), 4)}
  end if;
end if`,
    );
  }

  onDelete(): string {
    const memory = new Memory("change", this.#federation, `old.${this.#keyColumn}`);
    return this.#trigger(
      "delete",
      `if not (${memory.holds}) then
  if not (${this.#isHere("old")} and ${memory.remember}) then
${indent(this.#otherwise("old", memory, this.#log("old")), 4)}
  end if;
end if`,
    );
  }

  onUpdate(): string {
    const memory = new Memory("change", this.#federation, `old.${this.#keyColumn}`);
    const sameKey = `new.${this.#keyColumn} <=> old.${this.#keyColumn}`;
    const samePrimaryKey = this.#table.primaryKey
      .map(quoteIdentifier)
      .map((name) => `new.${name} <=> old.${name}`)
      .join(" and ");
    const log = `${this.#log("old")}
if not (${samePrimaryKey}) then
${indent(this.#log("new"), 2)}
end if;`;
    return this.#trigger(
      "update",
      `if not (${sameKey} and ${memory.holds}) then
  if not (${sameKey}) then
${indent(this.#refuse("key_change", "old"), 4)}
  elseif not (${this.#isHere("old")} and ${memory.remember}) then
${indent(this.#otherwise("old", memory, log), 4)}
  end if;
end if`,
    );
  }

  /** MariaDB replaces a trigger in one step. MySQL cannot, and makes it only where it is missing, lest there be a moment without. */
  #trigger(event: Event, body: string): string {
    const name = quoteIdentifier(derivedName(["tesserae_guard", this.#table.name, event]));
    return `create /*M!100104 or replace */ trigger /*!80029 if not exists */ ${name} before ${event} on ${quoteIdentifier(this.#table.name)} for each row\n${body}`;
  }

  #point(row: Row, what: string): string {
    return `(select ${what} from ${this.#residence} where kind = 'p' and low = ${row}.${this.#keyColumn} lock in share mode)`;
  }

  #isHere(row: Row): string {
    return `${this.#point(row, "state")} <=> 'here'`;
  }

  /** No point in state `here`: a range, a mover, a leaving key, or a refusal. */
  #otherwise(row: Row, memory: Memory, log: string): string {
    const key = `${row}.${this.#keyColumn}`;
    const range = `(select if(high is null or high > ${key}, concat(state, ':', token), null) from ${this.#residence} where kind = 'r' and low <= ${key} order by low desc limit 1 lock in share mode)`;
    return `set @tesserae_row = ${this.#point(row, "concat(state, ':', token)")};
if @tesserae_row is null then
  set @tesserae_row = ${range};
  if @tesserae_row is null then
    set @tesserae_row = ${range};
  end if;
  set @tesserae_row = coalesce(${this.#point(row, "concat(state, ':', token)")}, @tesserae_row);
end if;
if @tesserae_row is null then
${indent(this.#refuse("no_residence", row), 2)}
elseif @tesserae_row like 'here:%' or cast(substring_index(@tesserae_row, ':', -1) as signed) <=> @tesserae_mover then
  ${memory.set};
elseif @tesserae_row like 'leaving:%' then
${indent(log, 2)}
else
${indent(this.#refuse("not_here", row), 2)}
end if;`;
  }

  #log(row: Row): string {
    const values = [`${row}.${this.#keyColumn}`, quoteText(this.#table.name), this.#primaryKeyJson(row)];
    return `insert into ${this.#logTable} (key_value, table_name, primary_key) values (${values.join(", ")});`;
  }

  /** A condition's text holds 128 characters, of three bytes at most: a key with others goes as the hexadecimal digits of its bytes, behind a tilde. */
  #refuse(reason: GuardReason, row: Row): string {
    let key = asText(`${row}.${this.#keyColumn}`, this.#keyType);
    if (this.#keyType.kind === "text")
      key = `if(length(${key}) > char_length(${key}) or ${key} like '~%', concat('~', hex(${key})), ${key})`;
    return `set @tesserae_error = left(concat('TESSERAE_GUARD:${reason}:${this.#table.name}:', ${key}), 128);
signal sqlstate '45000' set mysql_errno = ${GUARD_ERRNO}, message_text = @tesserae_error;`;
  }

  /** The primary key's values in its own order: a JSON array. Integers as numbers, bytes in hexadecimal, everything else as its text. */
  #primaryKeyJson(row: Row): string {
    const values = this.#table.primaryKey.map((name) => {
      const type = this.#table.column.get(name)?.type as LogicalType;
      return asText(`${row}.${quoteIdentifier(name)}`, type);
    });
    return `json_array(${values.join(", ")})`;
  }
}

/** The key that this statement has looked up and found here last, in session variables. */
class Memory {
  /** True in the statement that remembered this key. */
  readonly holds: string;
  /** Remembers the key; an expression that is always true. A session without `@tesserae_session` remembers null, which holds for no statement. */
  readonly remember: string;
  readonly set: string;

  constructor(kind: "insert" | "change", federation: string, key: string) {
    const variable = (what: string) =>
      `@${quoteIdentifier(derivedName(["tesserae", kind, what, federation]))}`;
    const [keyVariable, clock, database] = ["key", "at", "in"].map(variable) as [string, string, string];
    const now = "@@session.timestamp * @tesserae_session";
    const inDatabase = kind === "change";
    this.holds = `${key} <=> ${keyVariable} and @@session.timestamp <=> ${clock}${inDatabase ? ` and database() <=> ${database}` : ""}`;
    // The server leaves out what it knows to be true: `(… := key) is not null` of a column that is never null, and the assignment with it.
    this.remember = `(${keyVariable} := ${key}) <=> ${key} and (${clock} := ${now}) is not false${inDatabase ? ` and (${database} := database()) is not null` : ""}`;
    this.set = `set ${clock} = ${now}, ${keyVariable} = ${key}${inDatabase ? `, ${database} = database()` : ""}`;
  }
}

const indent = (text: string, blanks: number): string => text.replace(/^/gm, " ".repeat(blanks));

/** As a person writes the value, and as the other engines' guards do. */
function asText(expression: string, type: LogicalType): string {
  const part = (start: number, length: number) => `hex(substr(${expression}, ${start}, ${length}))`;
  switch (type.kind) {
    case "bytes":
      return `lower(hex(${expression}))`;
    case "uuid":
      return `lower(concat_ws('-', ${part(1, 4)}, ${part(5, 2)}, ${part(7, 2)}, ${part(9, 2)}, ${part(11, 6)}))`;
    case "timestamp":
      return `concat(replace(cast(${expression} as char), ' ', 'T'), 'Z')`;
    case "decimal":
    case "date":
      return `cast(${expression} as char)`;
    default:
      return expression;
  }
}
