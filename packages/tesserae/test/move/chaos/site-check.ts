/**
 * Reads main and every shard past all routing, and says what is not as it must be: each acknowledged write is there exactly once and only where the
 * directory says, nothing else is anywhere, no half of an unacknowledged one; residences agree with the directory; nothing is left under way.
 */
import { DirectoryRows } from "../../../src/directory/directory-rows.ts";
import { KeyCodec } from "../../../src/directory/key-codec.ts";
import type { Database } from "../../../src/engine/contract.ts";
import { POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { ControlStore, RowCodec } from "../../../src/engine/control-store.ts";
import { logTableName, residenceTable } from "../../../src/engine/control-tables.ts";
import { DEFAULT_FEDERATION, type FederationModel, type TableModel } from "../../../src/schema/model.ts";
import { engineAt } from "../../engine/open-database.ts";
import type { ChaosAddresses } from "./chaos-messages.ts";
import { CHAOS_TABLES, chaosSchema, rowText } from "./chaos-schema.ts";
import { type LedgerContents, rowName } from "./ledger.ts";

const federation = chaosSchema.model.federations.get(DEFAULT_FEDERATION) as FederationModel;
const keys = new KeyCodec(federation);

/** A row of the directory or of a shard's residences, in what they have in common. */
export interface Tenure {
  readonly kind: "p" | "r";
  readonly low: bigint;
  readonly high: bigint | null;
  readonly epoch: bigint;
  readonly state: string;
}

export interface ShardContents {
  readonly shard: number;
  /** Rows by name (`rowName`), with their text. */
  readonly rows: ReadonlyMap<string, { readonly owner: bigint; readonly text: string }>;
  readonly residences: readonly Tenure[];
  readonly logEntries: number;
}

export interface SiteContents {
  readonly directory: readonly (Tenure & { readonly shard: number })[];
  readonly shards: readonly ShardContents[];
  /** Moves that have not ended, in words. */
  readonly moves: readonly string[];
}

/** Reads everything. Nothing may be written meanwhile. */
export async function readSite(addresses: ChaosAddresses): Promise<SiteContents> {
  const mainEngine = (await engineAt(addresses.main)).control();
  const main = mainEngine.open({ ...POOL_DEFAULTS, connectionsMax: 1 });
  const shards = await Promise.all(
    addresses.shards.map(async (url) => (await engineAt(url)).open({ ...POOL_DEFAULTS, connectionsMax: 1 })),
  );
  try {
    const [directory, moves, ...contents] = await Promise.all([
      readDirectory(main),
      readMoves(main),
      ...shards.map((database, index) => readShard(index + 1, database)),
    ]);
    return { directory, moves, shards: contents };
  } finally {
    await Promise.all([main, ...shards].map((database) => database.close()));
  }
}

async function readDirectory(main: Database): Promise<SiteContents["directory"]> {
  const rows = new DirectoryRows(new ControlStore(main), federation);
  const pages = [];
  for (const kind of ["p", "r"] as const)
    pages.push(...(await rows.page({ kind, after: undefined, limit: 100_000 })));
  return pages.map(({ kind, low, high, epoch, state, shard }) => ({
    kind,
    low: low as bigint,
    high: high as bigint | null,
    epoch,
    state,
    shard,
  }));
}

async function readMoves(main: Database): Promise<string[]> {
  const { rows } = await new ControlStore(main).read(
    "select id, kind, step, error from tesserae_moves where finished is null order by id",
    [],
  );
  return rows.map(({ id, kind, step, error }) => `move ${id} (${kind}) stands at ${step}: ${error}`);
}

async function readShard(shard: number, database: Database): Promise<ShardContents> {
  const store = new ControlStore(database);
  const residences = new RowCodec(database.engine.dialect, residenceTable(federation));
  const rows = new Map<string, { owner: bigint; text: string }>();
  for (const table of CHAOS_TABLES) {
    const codec = new RowCodec(database.engine.dialect, chaosSchema.model.tables.get(table) as TableModel);
    for (const raw of (await store.read(`select * from ${table}`, [])).rows) {
      const row = codec.decodeRow(raw);
      const owner = row["owner"] as bigint;
      rows.set(rowName({ table, key: `${owner}`, id: `${row["id"]}` }), { owner, text: rowText(row) });
    }
  }
  const tenures = await store.read(
    "select kind, low, high, epoch, state from tesserae_residence_default",
    [],
  );
  const log = await store.read(`select count(*) as n from ${logTableName(DEFAULT_FEDERATION)}`, []);
  return {
    shard,
    rows,
    residences: tenures.rows.map((raw) => residences.decodeRow(raw) as unknown as Tenure),
    logEntries: Number(log.rows[0]?.["n"]),
  };
}

/** What is wrong, in words; nothing if all is as it must be. */
export function checkSite(site: SiteContents, ledger: LedgerContents): string[] {
  return [
    ...ledger.strange,
    ...site.moves,
    ...site.shards
      .filter(({ logEntries }) => logEntries > 0)
      .map(({ shard, logEntries }) => `the log of shard ${shard} still has ${logEntries} entries`),
    ...checkResidences(site),
    ...checkPlaces(site),
    ...checkRows(site, ledger),
  ];
}

const tenureName = ({ kind, low, high }: Tenure): string =>
  kind === "p" ? `key ${low}` : `range ${low} to ${high}`;

/** What the directory serves is `here` on its shard at its epoch, and on no other. */
function checkResidences({ directory, shards }: SiteContents): string[] {
  const problems: string[] = [];
  for (const entry of directory) {
    if (entry.state !== "active") problems.push(`the directory has ${tenureName(entry)} as ${entry.state}`);
  }
  for (const { shard, residences } of shards) {
    const ours = directory.filter((entry) => entry.shard === shard);
    for (const residence of residences) {
      if (residence.state === "gone") continue;
      const entry = ours.find(({ kind, low }) => kind === residence.kind && low === residence.low);
      const agrees =
        residence.state === "here" && entry?.epoch === residence.epoch && entry.high === residence.high;
      if (agrees) continue;
      const wanted = entry === undefined ? "nothing" : `${tenureName(entry)} at epoch ${entry.epoch}`;
      problems.push(
        `shard ${shard} has ${tenureName(residence)} as ${residence.state} at epoch ${residence.epoch}; the directory has ${wanted} there`,
      );
    }
    for (const entry of ours) {
      const isHere = residences.some(
        ({ kind, low, state }) => kind === entry.kind && low === entry.low && state === "here",
      );
      if (!isHere) problems.push(`${tenureName(entry)} lives on shard ${shard}, which does not serve it`);
    }
  }
  return problems;
}

/** The shard where the directory says that a key lives: a point wins over the range around it. */
export function shardOf(directory: SiteContents["directory"], key: bigint): number | undefined {
  const point = directory.find(({ kind, low }) => kind === "p" && low === key);
  if (point !== undefined) return point.shard;
  return directory.find(({ kind, low, high }) => kind === "r" && low <= key && (high === null || key < high))
    ?.shard;
}

function checkPlaces({ directory, shards }: SiteContents): string[] {
  const problems: string[] = [];
  for (const { shard, rows } of shards) {
    for (const [name, { owner }] of rows) {
      const home = shardOf(directory, owner);
      if (home !== shard)
        problems.push(`${name} is on shard ${shard}; its key lives on shard ${home ?? "none"}`);
    }
  }
  return problems;
}

/** Every row is what the ledger says, or, of a write of unknown outcome, all of them as before it or all as after it. */
function checkRows({ directory, shards }: SiteContents, ledger: LedgerContents): string[] {
  const problems: string[] = [];
  // Of a row that is on two shards the one where it lives counts here; the other is out of place.
  const found = new Map<string, string>();
  for (const { shard, rows } of shards) {
    for (const [name, { owner, text }] of rows)
      if (shardOf(directory, owner) === shard || !found.has(name)) found.set(name, text);
  }
  const open = new Set<string>();
  for (const write of ledger.open) {
    for (const change of write.changes) open.add(rowName(change));
    const is = (side: "before" | "after") =>
      write.changes.every((change) => (found.get(rowName(change)) ?? null) === change[side]);
    if (is("before") || is("after")) continue;
    const rows = write.changes.map(
      (change) => `${rowName(change)}: ${found.get(rowName(change)) ?? "absent"}`,
    );
    problems.push(`${write.name}, of unknown outcome, is neither there nor not: ${rows.join("; ")}`);
  }
  for (const [name, { change, write }] of ledger.rows) {
    if (open.has(name)) continue;
    const text = found.get(name) ?? null;
    if (text !== change.after)
      problems.push(`${name} is ${text ?? "absent"}; ${write} made it ${change.after ?? "absent"}`);
  }
  for (const name of found.keys())
    if (!open.has(name) && !ledger.rows.has(name)) problems.push(`${name} is there, and nobody wrote it`);
  return problems;
}

export { keys as chaosKeys };
