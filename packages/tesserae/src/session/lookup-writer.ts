/**
 * Claims in main what a transaction on a shard has written to columns with a lookup, last before its commit.
 *
 * 1. The rows are written, and not committed. 2. Where the engine needs it, the transaction takes a lock that says so. 3. The values are claimed in main: a value that is free
 * is this key's from then on. 4. A value that another key has is refused with CONSTRAINT_UNIQUE if that key has a row with it; if it has none the claim is a
 * left-over of a transaction that was rolled back or of a row that is gone, and is taken. 5. The transaction commits. Cut off anywhere, what stays is a claim
 * without a row: `find` gives nothing for it, and whoever wants the value takes it. Why none of this can let two keys have the same value is in
 * docs/internals/lookups.md.
 */

import type { RootOperationNode } from "kysely";
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import type { Connection, EngineResult, Statement } from "../engine/contract.ts";
import {
  groupByKey,
  type LookupRow,
  type LookupRows,
  type LookupValue,
  newToken,
} from "../lookups/lookup-rows.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { SchemaModel } from "../schema/model.ts";
import type { Asker, Claimer, Claims } from "./claims.ts";
import { unknownValue, type WrittenValue, writtenValues } from "./lookup-claims.ts";
import type { LookupHolders } from "./lookup-holders.ts";

/** How long a writer waits for another key's writers of the same values, at most. */
const WAIT_MS = 5_000;

/** Where a test may stop or kill the process. */
export const LOOKUP_POINTS = ["held", "claimed", "asked", "taken"] as const;
export type LookupPoint = (typeof LOOKUP_POINTS)[number];

export interface LookupWriterOptions {
  readonly schema: SchemaModel;
  /** By table and column, in the order of all claims. */
  readonly rows: readonly LookupRows[];
  readonly holders: LookupHolders;
  readonly compareKeys: (one: KeyValue, other: KeyValue) => number;
  readonly waitMs?: number | undefined;
  readonly at?: ((point: LookupPoint) => void | Promise<void>) | undefined;
}

export class LookupWriter implements Claimer {
  readonly #options: LookupWriterOptions;

  constructor(options: LookupWriterOptions) {
    this.#options = options;
  }

  /** What a statement of the key writes; undefined where that is nothing. `resolve` gives the values for what stands in a prepared query's tree. */
  claimsOf(
    node: RootOperationNode,
    { key, place }: { readonly key: KeyValue; readonly place: ErrorPlace },
    resolve?: (value: unknown) => unknown,
  ): Claims | undefined {
    const values = writtenValues(node, this.#options.schema, resolve);
    return values.length === 0 ? undefined : { key, place, values, claimer: this };
  }

  /** LOOKUP_VALUE_UNKNOWN for a statement outside the tenant filter that writes what only a key's own session claims. */
  refuseUnfiltered(node: RootOperationNode): void {
    const table = writtenValues(node, this.#options.schema)[0]?.table;
    if (table !== undefined)
      throw unknownValue(
        table,
        undefined,
        "An unfiltered session does not say for which key. Write it with fed.at(key)",
      );
  }

  /** Claims everything that the open transaction on `asker.connection` wrote. CONSTRAINT_UNIQUE, LOOKUP_BUSY. */
  async claim(all: readonly Claims[], { target, connection }: Asker): Promise<void> {
    const { rows: lookups, compareKeys } = this.#options;
    const claimsFor = (key: KeyValue) => all.some((claims) => compareKeys(claims.key, key) === 0);
    const asker = { target, connection, claimsFor };
    for (const rows of lookups) {
      const keys = byKey(all, compareKeys).map(({ key, place, values }) => {
        const wanted = distinct(values, rows);
        return { key, place, wanted };
      });
      const claimed = new Set<string>();
      for (const { place, wanted } of keys)
        for (const value of wanted.keys()) {
          if (claimed.has(value)) throw this.#taken(rows, place);
          claimed.add(value);
        }
      for (const { key, place, wanted } of keys)
        if (wanted.size > 0) await this.#claimFor(rows, key, [...wanted.values()], place, asker);
    }
  }

  async #claimFor(
    rows: LookupRows,
    key: KeyValue,
    values: readonly LookupValue[],
    place: ErrorPlace,
    asker: Asker,
  ): Promise<void> {
    await this.#options.holders.hold(rows.lookup, key, asker);
    await this.#options.at?.("held");
    for (let wanted = values; wanted.length > 0; ) {
      const token = newToken();
      const foreign = await rows.claim(wanted, key, token);
      await this.#options.at?.("claimed");
      const lost: LookupValue[] = [];
      for (const group of groupByKey(foreign)) {
        if ((await this.#found(rows, group, place, asker)).length > 0) throw this.#taken(rows, place);
        await this.#options.at?.("asked");
        for (const row of group) {
          // Somebody claimed it meanwhile: it has to be looked at again.
          if (!(await rows.take(row.value, row.token, key, token))) lost.push(row.value);
          await this.#options.at?.("taken");
        }
      }
      wanted = lost;
    }
  }

  /** Those of another key's claims that it has rows with. */
  async #found(rows: LookupRows, group: readonly LookupRow[], place: ErrorPlace, asker: Asker) {
    const { key } = group[0] as LookupRow;
    const values = group.map(({ value }) => value);
    // Two that wait for each other do not give up at the same time.
    const waitMs = this.#options.waitMs ?? WAIT_MS * (1 - Math.random() / 2);
    try {
      return await this.#options.holders.found(rows.lookup, key, values, waitMs, asker);
    } catch (error) {
      // The caller's own key, and not the other's.
      throw error instanceof TesseraeError ? error.at(place) : error;
    }
  }

  #taken({ lookup: { table, column } }: LookupRows, place: ErrorPlace): TesseraeError {
    return new TesseraeError(
      "CONSTRAINT_UNIQUE",
      `A value for "${column.name}" in table "${table.name}" is in use: no two rows have the same, whatever their keys. Use another value.`,
      { ...place, table: table.name, column: column.name },
    );
  }
}

/**
 * One statement outside of a transaction: in one of its own, so that its claims come between its rows and their commit. The statement's own errors are the
 * driver's.
 */
export async function runClaiming(
  connection: Connection,
  statement: Statement,
  claim: () => Promise<void>,
): Promise<EngineResult> {
  await connection.begin();
  try {
    const result = await connection.run(statement);
    if (wroteRows(result)) await claim();
    await connection.commit();
    return result;
  } catch (error) {
    await connection.rollback().catch(() => connection.release(true));
    throw error;
  }
}

export function wroteRows({ affectedRows, rows }: EngineResult): boolean {
  return rows.length > 0 || (affectedRows ?? 0n) > 0n;
}

/** Claims of one key together; those who joined a transaction have their own. */
function byKey(
  all: readonly Claims[],
  compare: (one: KeyValue, other: KeyValue) => number,
): Omit<Claims, "claimer">[] {
  const merged: { key: KeyValue; place: ErrorPlace; values: WrittenValue[] }[] = [];
  for (const { key, place, values } of all) {
    const known = merged.find((entry) => compare(entry.key, key) === 0);
    if (known === undefined) merged.push({ key, place, values: [...values] });
    else known.values.push(...values);
  }
  return merged;
}

/** The lookup's own values, each once, in an order that is everybody's. */
function distinct(values: readonly WrittenValue[], rows: LookupRows): Map<string, LookupValue> {
  const { table, column } = rows.lookup;
  const found = new Map<string, LookupValue>();
  for (const written of values) {
    if (written.table.name !== table.name || written.column.name !== column.name) continue;
    const value = rows.canonical(written.value);
    found.set(value instanceof Uint8Array ? Buffer.from(value).toString("hex") : String(value), value);
  }
  return new Map([...found].sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0)));
}
