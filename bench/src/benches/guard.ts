/** What the guard costs: the same inserts by the bare driver, into the guarded table and into one without it. */
import type { Bare, BenchEngine } from "../bare.ts";
import { type Case, defineBench, inFlight } from "../harness.ts";
import { type Durability, openPlaces, type PlacesBench, placeRow } from "../places.ts";

const ENGINES: readonly BenchEngine[] = ["sqlite", "mysql", "postgres"];
const BATCH = 100;
const COLUMNS = "user_id, id, lat, lon, label, created";

export default defineBench({
  name: "guard",
  about:
    "Inserts by the bare driver's prepared statement into a guarded table, against the same table without its guard.",
  notComparable: [
    "With a flush about once a second the triggers' own cost shows most; with one at each commit, as servers are shipped, the disk is part of both sides.",
    "Client and server share the machine's cores.",
    "The tables are emptied before each slice; a large table's own insert costs more and the guard's does not.",
  ],
  async setup(context) {
    const cases: Case[] = [];
    for (const engine of ENGINES) {
      for (const durability of engine === "sqlite"
        ? (["shipped"] as const)
        : (["shipped", "relaxed"] as const)) {
        cases.push(...(await casesFor(await openPlaces(context, engine, durability), durability)));
      }
    }
    return { cases };
  },
});

const FLUSH: Readonly<Record<Durability, string>> = {
  shipped: "flush at each commit",
  relaxed: "flush about once a second",
};

async function casesFor(places: PlacesBench, durability: Durability): Promise<Case[]> {
  const { bare, engine, key, freshId } = places;
  const flush = FLUSH[durability];
  for (const sql of await unguardedTwin(bare, engine)) await bare.run(sql);
  const values = (n: number) => {
    const { lat, lon, label, created } = placeRow(n);
    const plain = engine === "sqlite";
    return [
      key(n),
      freshId(),
      plain ? Number(lat) : lat,
      plain ? Number(lon) : lon,
      label,
      plain ? created.toISOString() : created,
    ];
  };
  const single = (table: string) => {
    const insert = bare.prepare(
      `one_${table}`,
      `insert into ${table} (${COLUMNS}) values (?, ?, ?, ?, ?, ?)`,
    );
    return inFlight(8, (n) => insert(values(n)));
  };
  const batch = (table: string) => {
    const rows = Array.from({ length: BATCH }, () => "(?, ?, ?, ?, ?, ?)").join(", ");
    const insert = bare.prepare(`many_${table}`, `insert into ${table} (${COLUMNS}) values ${rows}`);
    // One key a statement, as an application's own batches have.
    return inFlight(8, (n) => insert(Array.from({ length: BATCH }, () => values(n)).flat()));
  };
  const beforeEach = async () => {
    await bare.run("delete from places where id > 10000000");
    await bare.run("delete from unguarded_places");
  };
  const common = { engine, baseline: "without guard", beforeEach };
  return [
    {
      ...common,
      case: `1 row a statement, ${flush}`,
      variants: { "without guard": single("unguarded_places"), guarded: single("places") },
    },
    {
      ...common,
      case: `${BATCH} rows a statement, ${flush}`,
      weight: BATCH,
      unit: "rows",
      variants: { "without guard": batch("unguarded_places"), guarded: batch("places") },
    },
  ];
}

/** The same columns, types, checks, keys and indexes, and no triggers. */
async function unguardedTwin(bare: Bare, engine: BenchEngine): Promise<string[]> {
  if (engine === "mysql") return ["create table unguarded_places like places"];
  if (engine === "postgres") return ["create table unguarded_places (like places including all)"];
  const definitions = bare.prepare(
    "definitions",
    "select sql from sqlite_schema where tbl_name = 'places' and type in ('table', 'index') and sql is not null order by type desc",
  );
  const rows = (await definitions([])) as { sql: string }[];
  return rows.map(({ sql }) => sql.replaceAll('"places', '"unguarded_places'));
}
