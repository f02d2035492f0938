/**
 * Settles claims that nobody has settled: those whose row is there are confirmed, those without one are forgotten. Nothing depends on it but the size of main's tables and
 * the time that the next one who wants such a value needs.
 */
import { isTesseraeError } from "../base/errors.ts";
import {
  groupByKey,
  LOOKUP_BATCH_MAX,
  type LookupRow,
  type LookupRows,
  type LookupValue,
} from "../lookups/lookup-rows.ts";
import type { LookupHolders } from "./lookup-holders.ts";

const OLDER_THAN_MS_DEFAULT = 60_000;
/** A value that somebody is writing at this moment is left to the next sweep. */
const WAIT_MS = 200;

export interface SweepOptions {
  /** Only claims that are older, in milliseconds. Default 60 000. */
  readonly olderThanMs?: number;
  /** Also those that were confirmed: finds values whose rows were deleted since. It reads every value of the lookup. Default false. */
  readonly all?: boolean;
}

export interface SweepResult {
  readonly table: string;
  readonly column: string;
  /** Claims that were looked at. */
  readonly checked: number;
  /** Those with a row. */
  readonly confirmed: number;
  /** Those without one: forgotten. */
  readonly released: number;
  /** Those that somebody is writing: left to the next sweep. */
  readonly busy: number;
}

export async function sweepLookup(
  rows: LookupRows,
  holders: LookupHolders,
  options: SweepOptions = {},
): Promise<SweepResult> {
  const { table, column } = rows.lookup;
  const result = { table: table.name, column: column.name, checked: 0, confirmed: 0, released: 0, busy: 0 };
  const reservedBefore =
    options.all === true ? undefined : new Date(Date.now() - (options.olderThanMs ?? OLDER_THAN_MS_DEFAULT));
  let after: LookupValue | undefined;
  for (;;) {
    const page = await rows.page({ after, limit: LOOKUP_BATCH_MAX, reservedBefore });
    const last = page.at(-1);
    if (last === undefined) return result;
    after = last.value;
    result.checked += page.length;
    const missing = await confirmThere(page, rows, holders);
    result.confirmed += page.length - missing.length;
    for (const group of groupByKey(missing))
      for (const outcome of await settle(group, rows, holders)) result[outcome]++;
  }
}

/** Confirms the claims whose rows are seen; gives the others. */
async function confirmThere(
  page: readonly LookupRow[],
  rows: LookupRows,
  holders: LookupHolders,
): Promise<LookupRow[]> {
  const there: LookupRow[] = [];
  const missing: LookupRow[] = [];
  for (const group of groupByKey(page)) {
    const seen = await holders.seen(rows.lookup, (group[0] as LookupRow).key, group);
    for (const row of group) (seen.has(row) ? there : missing).push(row);
  }
  await rows.confirm(there);
  return missing;
}

/** Of claims of one key whose rows were not seen. Where somebody writes one of them, each is asked for by itself. */
async function settle(
  group: readonly LookupRow[],
  rows: LookupRows,
  holders: LookupHolders,
): Promise<("confirmed" | "released" | "busy")[]> {
  const { key } = group[0] as LookupRow;
  try {
    const values = group.map(({ value }) => value);
    const there = new Set(await holders.found(rows.lookup, key, values, WAIT_MS));
    await rows.confirm(group.filter(({ value }) => there.has(value)));
    const gone = group.filter(({ value }) => !there.has(value));
    const outcomes: ("confirmed" | "released" | "busy")[] = [...there].map(() => "confirmed");
    for (const { value, token } of gone)
      outcomes.push((await rows.release(value, token)) ? "released" : "busy");
    return outcomes;
  } catch (error) {
    if (!isTesseraeError(error, "LOOKUP_BUSY")) throw error;
    if (group.length === 1) return ["busy"];
    const outcomes: ("confirmed" | "released" | "busy")[] = [];
    for (const row of group) outcomes.push(...(await settle([row], rows, holders)));
    return outcomes;
  }
}
