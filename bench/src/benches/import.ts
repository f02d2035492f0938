/** A file of places imported by Dotspotting, against the same rows read the same way and inserted by the bare driver. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { federate } from "tesserae";
import { openPlaces } from "../../../apps/dotspotting/src/places/read-places.ts";
import { schema } from "../../../apps/dotspotting/src/schema.ts";
import { importSheet } from "../../../apps/dotspotting/src/sheets/import-sheet.ts";
import { type Bare, type BenchEngine, benchFolder, openBare, POOL_SIZE } from "../bare.ts";
import { type BenchContext, type Case, defineBench } from "../harness.ts";

const ENGINES: readonly BenchEngine[] = ["sqlite", "mysql", "postgres"];
const ROWS_AT_ONCE = 500;
const QUICK_ROWS = 4_000;
const CHUNK_BYTES = 65_536;

export default defineBench({
  name: "import",
  about:
    "Imports a file of 42,049 places (zipcodes.csv): Dotspotting's import against the same rows inserted by the bare driver in batches of the same size.",
  notComparable: [
    "Both read the file with Dotspotting's reader and write the lookup and the guarded dots; durability as shipped.",
    "Dotspotting also writes a text for each dot, which its search compares, takes tickets, keeps the file's fingerprint and a preview, and writes the sheet itself; the bare driver counts its ids up in memory.",
    "Client and server share the machine's cores.",
  ],
  rounds: 7,
  async setup(context) {
    const file = await readPlacesFile(context);
    const cases: Case[] = [];
    for (const engine of ENGINES) cases.push(await caseFor(context, engine, file));
    return { cases };
  },
});

interface PlacesFile {
  readonly bytes: Uint8Array;
  readonly rows: number;
}

async function readPlacesFile(context: BenchContext): Promise<PlacesFile> {
  const path = process.env["ZIPCODES_CSV"] ?? join(benchFolder, "../../shared/data/zipcodes.csv");
  if (!existsSync(path))
    throw new Error(
      `There is no ${path}. Name the file with ZIPCODES_CSV; it is zipcodes.csv of the npm package vega-datasets.`,
    );
  const bytes = await readFile(path);
  const lines = bytes.toString("utf8").trimEnd().split("\n");
  if (!context.quick) return { bytes, rows: lines.length - 1 };
  return { bytes: Buffer.from(`${lines.slice(0, QUICK_ROWS + 1).join("\n")}\n`), rows: QUICK_ROWS };
}

/** The file in pieces, as an upload brings it. */
async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES)
    yield bytes.subarray(start, start + CHUNK_BYTES);
}

async function caseFor(context: BenchContext, engine: BenchEngine, file: PlacesFile): Promise<Case> {
  const [url] = (await context.databases(engine)) as [string];
  const fed = await federate({ schema, main: url, pool: { connectionsMax: POOL_SIZE } });
  context.onEnd(() => fed.close());
  await fed.schema.apply();
  const userId = 1n;
  await fed.main
    .insertInto("users")
    .values({ id: userId, name: "importer", password: "", created: new Date() })
    .execute();
  await fed.tenants.add(userId);
  const bare = openBare(engine, url);
  context.onEnd(() => bare.close());
  const bareImport = bareImporter(bare, engine);
  return {
    case: `${file.rows} places`,
    engine,
    baseline: "bare driver",
    operations: 1,
    weight: file.rows,
    unit: "rows",
    // Every import begins with tables as empty as the others'.
    beforeEach: async () => {
      for (const table of ["dots", "sheets", "dots_lookup", "sheets_lookup"])
        await bare.run(`delete from ${table}`);
    },
    variants: {
      "bare driver": async () => bareImport(file),
      Dotspotting: async () => {
        const request = {
          userId,
          fileName: "zipcodes.csv",
          label: "Zip codes",
          visibility: "public",
          badRows: "keep",
        } as const;
        const result = await importSheet(fed, request, pieces(file.bytes));
        if (result.outcome === "refused" || result.dots !== file.rows)
          throw new Error(`The import gave ${JSON.stringify(result)}.`);
      },
    },
  };
}

function bareImporter(bare: Bare, engine: BenchEngine): (file: PlacesFile) => Promise<void> {
  const columns = [
    "id",
    "user_id",
    "sheet_id",
    "latitude",
    "longitude",
    "label",
    "happened",
    "details",
    "created",
  ];
  const many = (table: string, names: readonly string[], rows: number) => {
    const row = `(${names.map(() => "?").join(", ")})`;
    return bare.prepare(
      `import_${table}_${rows}`,
      `insert into ${table} (${names.join(", ")}) values ${Array.from({ length: rows }, () => row).join(", ")}`,
    );
  };
  const time = (moment: Date) => (engine === "sqlite" ? moment.toISOString() : moment);
  const decimal = (value: string) => (engine === "sqlite" ? Number(value) : value);
  const lookup = new Map<number, ReturnType<typeof many>>();
  const dots = new Map<number, ReturnType<typeof many>>();
  const statement = (map: typeof lookup, table: string, names: readonly string[], rows: number) => {
    const known = map.get(rows) ?? many(table, names, rows);
    map.set(rows, known);
    return known;
  };
  return async (file) => {
    await bare.run(
      "insert into sheets (id, user_id, label, file_name, visibility, state, dots, columns, report, created) values (1, 1, 'x', 'x', 'public', 'ready', 0, '[]', '{}', '2026-01-01 00:00:00')".replace(
        "2026-01-01 00:00:00",
        engine === "sqlite" ? "2026-01-01T00:00:00.000Z" : "2026-01-01 00:00:00",
      ),
    );
    const created = time(new Date());
    let id = 0;
    let batch: unknown[][] = [];
    const flush = async () => {
      const entries = batch.map((row) => [row[0], 1, 1, null]);
      await statement(
        lookup,
        "dots_lookup",
        ["id", "user_id", "sheet_id", "deleted"],
        batch.length,
      )(entries.flat());
      await statement(dots, "dots", columns, batch.length)(batch.flat());
      batch = [];
    };
    for await (const { place } of (await openPlaces(pieces(file.bytes))).rows) {
      if (place === undefined) continue;
      const { latitude, longitude, label, happened, details } = place;
      batch.push([
        ++id,
        1,
        1,
        decimal(latitude),
        decimal(longitude),
        label,
        happened === null ? null : time(happened),
        JSON.stringify(details),
        created,
      ]);
      if (batch.length === ROWS_AT_ONCE) await flush();
    }
    if (batch.length > 0) await flush();
    if (id !== file.rows) throw new Error(`Read ${id} places of ${file.rows}.`);
  };
}
