/**
 * The guard on PostgreSQL: row triggers before insert, update and delete of each federated table (move-protocol), and one before truncate, which
 * fires no row triggers and is refused.
 *
 * `tesserae_hold_<federation>` takes the lock: FOR SHARE on the residence row of the key, held to the end of the transaction. (FOR KEY SHARE
 * would not stop a freeze; advisory locks leak under REPEATABLE READ.) It looks for the key's point by its exact key; without one it finds the range
 * around the key without a lock, locks exactly that row and looks again, since a row that a split replaced while we waited is seen as no row at all.
 * Whoever puts a point into a range must update the range's row in the same transaction: under REPEATABLE READ a writer sees no new point, and only the
 * changed range row stops it.
 *
 * The first row of a transaction pays for that. Having the lock in state `here`, the function notes federation and key in the setting
 * `tesserae.held`, local to the transaction; further rows of the same key compare it and are done. Lock and setting end at the same moment: with the
 * transaction, or with the rollback to a savepoint that was set before them. In state `leaving` nothing is noted, since each row is to be logged.
 * A session that sets `tesserae.held` or `tesserae.mover` itself passes the guard, as one that disables the triggers does: it protects from stale routes,
 * mistakes and other programs, not from a user of the database who means to get around it.
 *
 * The functions that lock and log run with their owner's rights (a lock needs UPDATE on the residence, which the application's user may lack), so
 * each name and operator in them says its schema: no search path can put another in its place. A SET clause would do it too, for 3 µs a call.
 * The triggers' own functions are STABLE, which spares them a snapshot for each expression; what they call may write all the same.
 *
 * PostgreSQL lets those who share a row lock overtake somebody who waits to have it alone: a freeze of a busy tenant waited long (20 writers whose
 * transactions take 30 ms each: up to 8 s). So writers pass a gate before they ask for the row: they share an advisory lock to the end of their transaction,
 * and whoever wants the row alone takes that lock alone first (`gateSql`). Advisory locks are a queue: who comes after the freezer waits behind it, who came before is
 * done within one transaction. It costs single rows 0.02 of their rate, and without it five freezes among 20 such writers were not through in half a minute. The gate is fairness alone; the row's lock stays the correctness, and whoever forgets the gate only waits longer.
 * A residence's gate is named by federation and key: of a point its key, of a range its `low`. A writer takes the gate of its own key first, since that is
 * where its point is or will be, and then, having found no point but a range, the gate of that range before it locks the range's row: so whichever row
 * it waits for, it shares that row's gate. A point and a range that begin with the same key have one gate, which costs a freezer of the one a wait for the writers of the other.
 *
 * Tried and not taken (100 rows a statement / one row, server time against an unguarded table): a WHEN clause with the comparison 0.87 / 0.62, since its
 * text is parsed anew for each statement; statement triggers with transition tables 0.86 / 0.55, and they fire after the foreign keys; this 0.80 / 0.66.
 * Of the 29 µs that one row pays, 19 are the look-up in the residence, about what a foreign key costs. With the client on the same cores: `npm run bench -- guard`.
 * A session that remembers keys beyond its transaction, with a sequence as the residences' version and shared advisory locks,
 * would pay 12 µs for a key it knows and more than now for one it does not.
 */
import { createHash } from "node:crypto";
import { derivedName } from "../../schema/define-schema.ts";
import type { LogicalType } from "../../schema/logical-type.ts";
import type { FederationModel, TableModel } from "../../schema/model.ts";
import { logTableName, residenceTableName } from "../control-tables.ts";
import { quoteIdentifier, quoteText, underSchemaLock } from "./ddl.ts";
import { GUARD_STATE } from "./errors.ts";

/** Replaced by the current schema's name when the functions are made. */
const SCHEMA = "@schema@";
const EVENTS = ["insert", "update", "delete", "truncate"] as const;
type Event = (typeof EVENTS)[number];

/** The mover's token, local to its transaction: residences with this token let it pass. What it noted as held is taken back with it. */
export function passPostgresGuard(token: bigint) {
  return {
    open: [`select pg_catalog.set_config('tesserae.mover', '${token}', true)`],
    close: [
      "select pg_catalog.set_config('tesserae.mover', '', true), pg_catalog.set_config('tesserae.held', '', true)",
    ],
  };
}

/** Takes the gates of residences alone, to the end of the transaction, in one order for everybody. */
export function gateSql(federation: FederationModel, keys: number): string {
  const hashes = Array.from(
    { length: keys },
    () => `(${gateHash(`?::${argumentType(federation.key)}`, federation)})`,
  );
  return `select pg_catalog.pg_advisory_xact_lock(gate) from (select gate from (values ${hashes.join(", ")}) gates (gate) order by gate offset 0) ordered`;
}

/** The advisory lock's number: a hash of the key, begun with one of the federation's name. Two keys that share a number share a gate, and nothing else. */
function gateHash(expression: string, federation: FederationModel): string {
  const seed = createHash("sha256").update(federation.name).digest().readBigInt64BE();
  const { key } = federation;
  const start = `'${seed}'::pg_catalog.int8`;
  if (key.kind === "bigint") return `pg_catalog.hashint8extended(${expression}, ${start})`;
  if (key.kind === "uuid") return `pg_catalog.uuid_hash_extended(${expression}, ${start})`;
  return `pg_catalog.hashtextextended(${keyText(expression, key)} collate pg_catalog."C", ${start})`;
}

/** The functions of one table's triggers; dropped with it. */
export function guardFunctionNames(table: string): string[] {
  return EVENTS.map((event) => guardName(table, event));
}

const guardName = (table: string, event: Event): string => derivedName(["tesserae_guard", table, event]);

export function createPostgresGuard(table: TableModel, federation: FederationModel): string[] {
  const functions = [
    holdFunction(federation),
    logFunction(federation),
    ...triggerFunctions(table, federation),
  ];
  const triggers = EVENTS.map((event) => {
    const name = quoteIdentifier(guardName(table.name, event));
    const level = event === "truncate" ? "statement" : "row";
    return `create or replace trigger ${name} before ${event} on ${quoteIdentifier(table.name)} for each ${level} execute function ${name}()`;
  });
  const inSchema = functions.map(
    (text) =>
      `execute pg_catalog.replace($ddl$${text}$ddl$, '${SCHEMA}', pg_catalog.quote_ident(current_schema()))`,
  );
  return [underSchemaLock([...inSchema, ...triggers])];
}

const holdName = (federation: string): string =>
  `${SCHEMA}.${quoteIdentifier(derivedName(["tesserae_hold", federation]))}`;
const noteName = (federation: string): string =>
  `${SCHEMA}.${quoteIdentifier(derivedName(["tesserae_note", federation]))}`;

/** The key's type as a function's argument: without a length. */
function argumentType(type: LogicalType): string {
  switch (type.kind) {
    case "bigint":
      return "pg_catalog.int8";
    case "uuid":
      return "pg_catalog.uuid";
    case "bytes":
      return "pg_catalog.bytea";
    default:
      return "pg_catalog.text";
  }
}

/** A value of a key's type as text; bytes do not depend on the session's `bytea_output`. */
function keyText(expression: string, type: LogicalType): string {
  return type.kind === "bytes" ? `pg_catalog.encode(${expression}, 'hex')` : `${expression}::pg_catalog.text`;
}

/** The federation stands before the key: an empty key is not the empty text that a setting has after it was reset. */
function heldText(expression: string, federation: FederationModel): string {
  return `'${federation.name}:' operator(pg_catalog.||) ${keyText(expression, federation.key)}`;
}

function raise(reason: string, table: string, key: string): string {
  return `raise exception using errcode = '${GUARD_STATE}', message = 'TESSERAE_GUARD:${reason}:' operator(pg_catalog.||) ${table} operator(pg_catalog.||) ':' operator(pg_catalog.||) ${key}`;
}

/** Locks the residence of a key, or refuses. True when the change is to be logged. */
function holdFunction(federation: FederationModel): string {
  const residence = `${SCHEMA}.${quoteIdentifier(residenceTableName(federation.name))}`;
  const key = federation.key.kind === "text" ? `sought collate pg_catalog."C"` : "sought";
  const shown = keyText("sought", federation.key);
  const point = `r.kind operator(pg_catalog.=) 'p' and r.low operator(pg_catalog.=) ${key}`;
  return `create or replace function ${holdName(federation.name)}(sought ${argumentType(federation.key)}, of_table pg_catalog.text)
  returns pg_catalog.bool language plpgsql volatile security definer as $guard$
declare
  found_state pg_catalog.text;
  found_token pg_catalog.int8;
  range_low ${argumentType(federation.key)};
  range_high ${argumentType(federation.key)};
  noted pg_catalog.text;
begin
  perform pg_catalog.pg_advisory_xact_lock_shared(${gateHash("sought", federation)});
  select r.state, r.token into found_state, found_token from ${residence} r where ${point} for share;
  if not found then
    select r.low, r.high into range_low, range_high from ${residence} r
      where r.kind operator(pg_catalog.=) 'r' and r.low operator(pg_catalog.<=) ${key}
      order by r.low desc limit 1;
    if not found or ${key} operator(pg_catalog.>=) range_high then
      ${raise("no_residence", "of_table", shown)};
    end if;
    perform pg_catalog.pg_advisory_xact_lock_shared(${gateHash("range_low", federation)});
    select r.state, r.token into found_state, found_token from ${residence} r
      where r.kind operator(pg_catalog.=) 'r' and r.low operator(pg_catalog.=) range_low and (r.high is null or ${key} operator(pg_catalog.<) r.high)
      for share;
    if not found then
      ${raise("residence_changed", "of_table", shown)};
    end if;
    perform from ${residence} r where ${point};
    if found then
      ${raise("residence_changed", "of_table", shown)};
    end if;
  end if;
  if found_state operator(pg_catalog.=) 'here' or found_token::pg_catalog.text operator(pg_catalog.=) pg_catalog.current_setting('tesserae.mover', true) then
    noted := pg_catalog.set_config('tesserae.held', ${heldText("sought", federation)}, true);
    return false;
  end if;
  if found_state operator(pg_catalog.=) 'leaving' then
    return true;
  end if;
  ${raise("not_here", "of_table", shown)};
end
$guard$`;
}

/** Appends to the change log. */
function logFunction(federation: FederationModel): string {
  const log = `${SCHEMA}.${quoteIdentifier(logTableName(federation.name))}`;
  return `create or replace function ${noteName(federation.name)}(of_key ${argumentType(federation.key)}, of_table pg_catalog.text, of_row pg_catalog.text)
  returns pg_catalog.void language plpgsql volatile security definer as $guard$
begin
  insert into ${log} (key_value, table_name, primary_key) values (of_key, of_table, of_row);
end
$guard$`;
}

function triggerFunctions(table: TableModel, federation: FederationModel): string[] {
  const key = quoteIdentifier(table.keyColumn as string);
  const name = quoteText(table.name);
  const hold = (row: string) => `${holdName(federation.name)}(${row}.${key}, ${name})`;
  const note = (row: string) =>
    `perform ${noteName(federation.name)}(${row}.${key}, ${name}, ${primaryKeyJson(table, row)})`;
  const held = (row: string) =>
    `pg_catalog.current_setting('tesserae.held', true) operator(pg_catalog.=) (${heldText(`${row}.${key}`, federation)})`;
  const exact = (row: string, column: string) => {
    const collation = table.column.get(column)?.type.kind === "text" ? ' collate pg_catalog."C"' : "";
    return `${row}.${quoteIdentifier(column)}${collation}`;
  };
  const primaryKeyChanged = table.primaryKey
    .map((column) => `${exact("new", column)} operator(pg_catalog.<>) ${exact("old", column)}`)
    .join(" or ");
  return [
    // A row without a key is left to NOT NULL.
    triggerFunction(table, "insert", "stable", [
      `if ${held("new")} or new.${key} is null then\n    return new;\n  end if`,
      `if ${hold("new")} then\n    ${note("new")};\n  end if`,
      "return new",
    ]),
    triggerFunction(table, "update", "stable", [
      `if new.${key} is null or new.${key} operator(pg_catalog.<>) old.${key} then\n    ${raise("key_change", name, keyText(`old.${key}`, federation.key))};\n  end if`,
      `if ${held("old")} then\n    return new;\n  end if`,
      `if ${hold("old")} then\n    ${note("old")};\n    if ${primaryKeyChanged} then\n      ${note("new")};\n    end if;\n  end if`,
      "return new",
    ]),
    triggerFunction(table, "delete", "stable", [
      `if ${held("old")} then\n    return old;\n  end if`,
      `if ${hold("old")} then\n    ${note("old")};\n  end if`,
      "return old",
    ]),
    triggerFunction(table, "truncate", "volatile", [
      `raise exception using errcode = '0A000', message = ${quoteText(`TRUNCATE of the federated table "${table.name}" is refused: it would pass its guard. Use DELETE.`)}`,
    ]),
  ];
}

function triggerFunction(
  table: TableModel,
  event: Event,
  volatility: "stable" | "volatile",
  body: readonly string[],
): string {
  const name = `${SCHEMA}.${quoteIdentifier(guardName(table.name, event))}`;
  return `create or replace function ${name}() returns trigger language plpgsql ${volatility} as $guard$
begin
${body.map((statement) => `  ${statement};`).join("\n")}
end
$guard$`;
}

/** The primary key's values in its own order as a JSON array: integers as numbers, bytes in hexadecimal, everything else as its logical text. */
function primaryKeyJson(table: TableModel, row: string): string {
  const values = table.primaryKey.map((name) => {
    const type = table.column.get(name)?.type as LogicalType;
    return jsonValue(`${row}.${quoteIdentifier(name)}`, type);
  });
  return `pg_catalog.json_build_array(${values.join(", ")})::pg_catalog.text`;
}

function jsonValue(expression: string, type: LogicalType): string {
  switch (type.kind) {
    case "int":
    case "bigint":
    case "double":
    case "boolean":
      return expression;
    case "bytes":
      return `pg_catalog.encode(${expression}, 'hex')`;
    case "date":
      return `pg_catalog.to_char(${expression}, 'YYYY-MM-DD')`;
    case "timestamp": {
      const fraction = type.precision === 3 ? "MS" : "US";
      return `pg_catalog.to_char(pg_catalog.timezone('UTC', ${expression}), 'YYYY-MM-DD"T"HH24:MI:SS.${fraction}"Z"')`;
    }
    default:
      return `${expression}::pg_catalog.text`;
  }
}
