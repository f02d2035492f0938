/** One row inserted by key: through the library, the bare driver, and plain Kysely, into the same guarded table. */
import { bigint, decimal, text, timestamp } from "tesserae";
import type { BenchEngine } from "../bare.ts";
import { type Case, defineBench, inFlight } from "../harness.ts";
import { openPlaces, type PlacesBench, placeRow } from "../places.ts";

const ENGINES: readonly BenchEngine[] = ["sqlite", "mysql", "postgres"];

export default defineBench({
  name: "single-insert",
  about:
    "Inserts one row by key: prepared against the same prepared statement on the bare driver, fluent against plain Kysely.",
  notComparable: [
    "All variants write to the same guarded table: the guard's own cost is the bench `guard`.",
    "Servers flush about once a second here, so that the client's cost shows; with a flush at each commit all variants come closer.",
    "Client and server share the machine's cores.",
    "SQLite flushes at each commit, and has one writer: its variants wait for the same disk.",
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
  const { fed, bare, engine, key, freshId } = places;
  const bareInsert = bare.prepare(
    "insert_place",
    "insert into places (user_id, id, lat, lon, label, created) values (?, ?, ?, ?, ?, ?)",
  );
  const prepared = fed.prepare(
    { id: bigint(), lat: decimal(9, 6), lon: decimal(9, 6), label: text(100), created: timestamp() },
    (db, p) =>
      db
        .insertInto("places")
        .values({ id: p.id, lat: p.lat, lon: p.lon, label: p.label, created: p.created }),
  );
  const bareCreated = (created: Date) => (engine === "sqlite" ? created.toISOString() : created);
  const bareLatitude = (text: string) => (engine === "sqlite" ? Number(text) : text);
  return [
    {
      case: `prepared, ${count} in flight`,
      engine,
      baseline: "bare driver, prepared",
      variants: {
        "bare driver, prepared": inFlight(count, (n) => {
          const { lat, lon, label, created } = placeRow(n);
          return bareInsert([
            key(n),
            freshId(),
            bareLatitude(lat),
            bareLatitude(lon),
            label,
            bareCreated(created),
          ]);
        }),
        "fed.prepare": inFlight(count, (n) =>
          prepared.at(BigInt(key(n)), { id: BigInt(freshId()), ...placeRow(n) }),
        ),
      },
    },
    {
      case: `fluent, ${count} in flight`,
      engine,
      baseline: "plain Kysely",
      variants: {
        "plain Kysely": inFlight(count, (n) => {
          const { lat, lon, label, created } = placeRow(n);
          return bare.kysely
            .insertInto("places")
            .values({
              user_id: key(n),
              id: freshId(),
              lat: bareLatitude(lat),
              lon: bareLatitude(lon),
              label,
              created: bareCreated(created),
            })
            .execute();
        }),
        "fed.at(key)": inFlight(count, (n) =>
          fed
            .at(BigInt(key(n)))
            .insertInto("places")
            .values({ id: BigInt(freshId()), ...placeRow(n) })
            .execute(),
        ),
      },
    },
  ];
}
