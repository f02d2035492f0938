/** One row by key and id: through the library, the bare driver, and plain Kysely. */
import { bigint } from "tesserae";
import type { BenchEngine } from "../bare.ts";
import { type Case, defineBench, inFlight } from "../harness.ts";
import { openPlaces, type PlacesBench, ROWS_PER_TENANT } from "../places.ts";

const ENGINES: readonly BenchEngine[] = ["sqlite", "mysql", "postgres"];
const COLUMNS = ["id", "lat", "lon", "label", "created"] as const;

export default defineBench({
  name: "point-read",
  about:
    "Reads one row by key and id: prepared against the same prepared statement on the bare driver, fluent against plain Kysely.",
  notComparable: [
    "The library's rows are in logical types (bigint, Date, exact decimals); the bare driver's and plain Kysely's are as the driver gives them.",
    "Client and server share the machine's cores, so a part of each figure is the server's.",
    "SQLite runs inside the process: what one statement costs there is little, and each microsecond around it weighs more.",
    "Plain Kysely filters by the key in the query's own text; the library adds the condition.",
  ],
  async setup(context) {
    const cases: Case[] = [];
    for (const engine of ENGINES) {
      const places = await openPlaces(context, engine, "relaxed");
      for (const count of [8, 32]) cases.push(...casesFor(places, count));
    }
    return { cases };
  },
});

function casesFor(places: PlacesBench, count: number): Case[] {
  const { fed, bare, engine, key } = places;
  const rowOf = (number: number) => key(number) * 1000 + (number % ROWS_PER_TENANT);
  const bareRead = bare.prepare(
    "read_place",
    `select ${COLUMNS.join(", ")} from places where user_id = ? and id = ?`,
  );
  const prepared = fed.prepare({ id: bigint() }, (db, p) =>
    db.selectFrom("places").select(COLUMNS).where("id", "=", p.id),
  );
  return [
    {
      case: `prepared, ${count} in flight`,
      engine,
      baseline: "bare driver, prepared",
      variants: {
        "bare driver, prepared": inFlight(count, (n) => bareRead([key(n), rowOf(n)])),
        "fed.prepare": inFlight(count, (n) => prepared.at(BigInt(key(n)), { id: BigInt(rowOf(n)) })),
      },
    },
    {
      case: `fluent, ${count} in flight`,
      engine,
      baseline: "plain Kysely",
      variants: {
        "plain Kysely": inFlight(count, (n) =>
          bare.kysely
            .selectFrom("places")
            .select(COLUMNS)
            .where("user_id", "=", key(n))
            .where("id", "=", rowOf(n))
            .execute(),
        ),
        "fed.at(key)": inFlight(count, (n) =>
          fed
            .at(BigInt(key(n)))
            .selectFrom("places")
            .select(COLUMNS)
            .where("id", "=", BigInt(rowOf(n)))
            .execute(),
        ),
      },
    },
  ];
}
