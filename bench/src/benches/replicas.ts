/** Reads from replicas against the same reads on the primary, and what it costs that they see the reader's own writes. */
import { loadavg } from "node:os";
import type { ServerEngine } from "@tesserae/test-support";
import { sql } from "kysely";
import { bigint } from "tesserae";
import { type Case, defineBench, type Figure, inFlight, type Run } from "../harness.ts";
import {
  bareReader,
  type MainSession,
  OTHER_WRITES_PER_SECOND,
  openPages,
  type PagesBench,
  type PagesFederation,
  type ReadPage,
  ROWS,
  readerOf,
  writeBeside,
  writerOf,
} from "../pages.ts";
import { quantile } from "../statistics.ts";

const ENGINES: readonly ServerEngine[] = ["mysql", "postgres"];
const BESIDE = `beside ${OTHER_WRITES_PER_SECOND} writes a second of another writer`;
const BARE = "bare driver, primary";
const ON_PRIMARY = "reads on the primary";

export default defineBench({
  name: "replicas",
  about:
    "Reads one row by primary key on the primary and with 0, 1 and 2 replicas; a context's write and then its reads, with and without seeing what it wrote.",
  notComparable: [
    "The primary, both replicas and the client share two cores, so two replicas cannot bring twice the reads. The ratios tell what the library takes for the choice and for freshness, and nothing of how servers scale; the bare driver on two replicas in turn shows what these servers could give here.",
    "All three servers run in every case, and each write is applied three times on the same two cores.",
    "The library's rows are in logical types (bigint); the bare driver's are as the driver gives them. Queries of main are built before and run many times; those of keys that are not prepared are built for each read, by Kysely, on both sides of the ratio.",
    "Each pool has ten connections, so that reads from two replicas have twenty. With 32 in flight a read on one server waits for a connection, and the library's wait has a time-out that the bare pool does not have.",
    "Replication is asynchronous and over the loopback interface: a replica has a write within a millisecond or so here, and a read that waits for its own write waits that long. On a network it is at least the way between the servers.",
    "The load average before the bench is other work; the one at the end is the bench and whatever else began meanwhile.",
  ],
  rounds: 9,
  async setup(context) {
    const before = loadavg()[0] as number;
    const cases: Case[] = [];
    const opened: PagesBench[] = [];
    for (const engine of ENGINES) {
      const pages = await openPages(context, engine);
      opened.push(pages);
      for (const count of context.quick ? [8] : [8, 32])
        cases.push(readsOfMain(pages, count), ...readsOfKeys(pages, count));
      cases.push(readsWithoutWrites(pages));
      for (const reads of context.quick ? [1] : [1, 10]) {
        cases.push(writesAndReads(pages, reads, 1));
        if (!context.quick) cases.push(besideOthers(pages, writesAndReads(pages, reads, 1)));
      }
      if (!context.quick) cases.push(writesAndReads(pages, 10, 8));
    }
    return {
      cases,
      async figures() {
        const figures: Figure[] = [];
        for (const pages of opened) figures.push(...(await firstReads(pages, context.quick ? 300 : 3_000)));
        const load = (name: string, value: number) =>
          figures.push({
            case: "load average of the machine",
            engine: "all",
            name,
            value,
            unit: "processes",
          });
        load("before", before);
        load("at the end", loadavg()[0] as number);
        return figures;
      },
    };
  },
});

/** Every read of a slice must find its row. */
function reading(count: number, read: ReadPage): Run {
  return inFlight(count, async (n) => {
    if ((await read(n % ROWS)) === undefined) throw new Error(`Page ${n % ROWS} was not found.`);
  });
}

function readsOfMain({ engine, bare, bareReplicas, feds }: PagesBench, count: number): Case {
  const [none, one, two] = feds;
  const bareReads = bareReplicas.map(bareReader);
  let turn = 0;
  const inTurn = (id: number) => (bareReads[turn++ % bareReads.length] as ReadPage)(id);
  return {
    case: `one row of main, ${count} in flight`,
    engine,
    baseline: BARE,
    unit: "reads",
    variants: {
      [BARE]: reading(count, bareReader(bare)),
      "bare driver, two replicas in turn": reading(count, inTurn),
      "fed.main": reading(count, readerOf(none.main)),
      "fed.replica, no replicas": reading(count, readerOf(none.replica)),
      "fed.replica, one replica": reading(count, readerOf(one.replica)),
      "fed.replica, two replicas": reading(count, readerOf(two.replica)),
    },
  };
}

function readsOfKeys({ engine, feds }: PagesBench, count: number): Case[] {
  const [none, one] = feds;
  const columns = ["id", "version", "body"] as const;
  type Session = ReturnType<PagesFederation["at"]>;
  const fluent = (session: (key: bigint) => Session | Session["replica"]) =>
    reading(count, async (id) => {
      const key = BigInt(id);
      const rows = await session(key).selectFrom("notes").select(columns).where("id", "=", key).execute();
      return rows[0]?.version;
    });
  const prepare = (fed: PagesFederation) =>
    fed.prepare({ id: bigint() }, (db, p) => db.selectFrom("notes").select(columns).where("id", "=", p.id));
  type Prepared = ReturnType<typeof prepare>;
  const prepared = (query: Pick<Prepared, "at">) =>
    reading(count, async (id) => (await query.at(BigInt(id), { id: BigInt(id) }))[0]?.version);
  const [ofNone, ofOne] = [prepare(none), prepare(one)];
  return [
    {
      case: `one row of a key, ${count} in flight`,
      engine,
      baseline: "fed.at(key)",
      unit: "reads",
      variants: {
        "fed.at(key)": fluent((key) => none.at(key)),
        "fed.at(key).replica, no replicas": fluent((key) => none.at(key).replica),
        "fed.at(key).replica, one replica": fluent((key) => one.at(key).replica),
      },
    },
    {
      case: `one row of a key, prepared, ${count} in flight`,
      engine,
      baseline: "prepared.at(key)",
      unit: "reads",
      variants: {
        "prepared.at(key)": prepared(ofNone),
        "prepared.replica.at(key), no replicas": prepared(ofNone.replica),
        "prepared.replica.at(key), one replica": prepared(ofOne.replica),
      },
    },
  ];
}

/** What freshness costs who has written nothing, or long ago. */
function readsWithoutWrites({ engine, feds, heedless, versions }: PagesBench): Case {
  const [, { main, replica, freshness }] = feds;
  const read = readerOf(replica);
  const write = writerOf(main, versions);
  const count = 8;
  return {
    case: `one row of main, one replica, ${count} in flight, nothing written meanwhile`,
    engine,
    baseline: 'freshness "none"',
    unit: "reads",
    variants: {
      'freshness "none"': reading(count, readerOf(heedless.replica)),
      "own writes: none": (operations) => freshness.run(() => reading(count, read)(operations)),
      "own writes: none, a context for each read": reading(count, (id) => freshness.run(() => read(id))),
      "own writes: one before": (operations) =>
        freshness.run(async () => {
          await write(0);
          return reading(count, read)(operations);
        }),
    },
  };
}

/** Each operation is a write and so many reads of the same row after it, in a context that goes on; so many contexts at once. */
function writesAndReads(pages: PagesBench, reads: number, contexts: number): Case {
  const { engine, servers, feds, heedless, versions } = pages;
  const [none, one] = feds;
  const run = (fed: PagesFederation, session: MainSession, seesOwn: boolean): Run => {
    const write = writerOf(fed.main, versions);
    const read = readerOf(session);
    return async (operations) => {
      let next = 0;
      // Contexts write to rows of their own.
      const goOn = async (row: number) => {
        for (let id = row; next < operations; id = (id + contexts) % ROWS) {
          next += 1;
          await write(id);
          for (let i = 0; i < reads; i += 1) {
            const version = (await read(id)) ?? -1;
            if (seesOwn && version < (versions[id] as number)) throw new Error(`Page ${id} was old.`);
          }
        }
      };
      await Promise.all(Array.from({ length: contexts }, (_, row) => fed.freshness.run(() => goOn(row))));
    };
  };
  return {
    case: `a write and ${reads === 1 ? "a read" : `${reads} reads`} after it, ${contexts === 1 ? "one context" : `${contexts} contexts at once`}`,
    engine,
    baseline: ON_PRIMARY,
    unit: "writes with their reads",
    beforeEach: () => servers.waitUntilCaughtUp(),
    variants: {
      [ON_PRIMARY]: run(none, none.main, true),
      "one replica, own writes": run(one, one.replica, true),
      'one replica, freshness "none" (may be old)': run(heedless, heedless.replica, false),
    },
  };
}

/** The same while somebody else writes; until the writer has ended, nobody's slice begins. */
function besideOthers({ bare }: PagesBench, item: Case): Case {
  const variants = Object.entries(item.variants).map(([name, run]): [string, Run] => [
    name,
    async (operations) => {
      const others = writeBeside(bare);
      const start = performance.now();
      try {
        await run(operations);
        return { elapsed_ms: performance.now() - start };
      } finally {
        await others.stop();
      }
    },
  ]);
  return { ...item, case: `${item.case}, ${BESIDE}`, variants: Object.fromEntries(variants) };
}

const PORT = { mysql: sql.raw("@@port"), postgres: sql.raw("current_setting('port')") };

/** The first read after a write, one at a time: how long it took, who answered, and whether it was old. */
async function firstReads(pages: PagesBench, length_ms: number): Promise<Figure[]> {
  const { feds, heedless, servers } = pages;
  const [none, one] = feds;
  const kinds: Record<string, readonly [PagesFederation, MainSession]> = {
    [ON_PRIMARY]: [none, none.main],
    "one replica, own writes": [one, one.replica],
    'one replica, freshness "none"': [heedless, heedless.replica],
  };
  const figures: Figure[] = [];
  for (const beside of [false, true])
    for (const [name, [fed, session]] of Object.entries(kinds)) {
      await servers.waitUntilCaughtUp();
      const others = beside ? writeBeside(pages.bare) : undefined;
      const seen = await fed.freshness
        .run(() => timeFirstReads(pages, fed, session, length_ms))
        .finally(() => others?.stop());
      const share = (count: number) => (100 * count) / seen.times.length;
      const figure = (what: string, value: number, unit: string) =>
        figures.push({
          case: `first read after a write${beside ? `, ${BESIDE}` : ""}`,
          engine: pages.engine,
          name: `${name}: ${what}`,
          value,
          unit,
        });
      figure("p50", quantile(seen.times, 0.5), "ms");
      figure("p99", quantile(seen.times, 0.99), "ms");
      figure("reads", seen.times.length, "reads");
      if (session !== none.main) figure("answered by the primary", share(seen.byPrimary), "%");
      figure("old", share(seen.old), "%");
    }
  return figures;
}

async function timeFirstReads(
  { engine, servers, versions }: PagesBench,
  fed: PagesFederation,
  session: MainSession,
  length_ms: number,
): Promise<{ times: number[]; byPrimary: number; old: number }> {
  const write = writerOf(fed.main, versions);
  const queries = versions.map((_, id) =>
    session
      .selectFrom("pages")
      .select(["version", sql<unknown>`${PORT[engine]}`.as("port")])
      .where("id", "=", BigInt(id))
      .compile(),
  );
  const times: number[] = [];
  let byPrimary = 0;
  let old = 0;
  const end = performance.now() + length_ms;
  for (let id = 0; performance.now() < end; id = (id + 1) % ROWS) {
    await write(id);
    const start = performance.now();
    const { rows } = await session.executeQuery(queries[id] as (typeof queries)[number]);
    times.push(performance.now() - start);
    if (Number(rows[0]?.port) === servers.primary.port) byPrimary += 1;
    if ((rows[0]?.version ?? -1) < (versions[id] as number)) old += 1;
  }
  return { times, byPrimary, old };
}
