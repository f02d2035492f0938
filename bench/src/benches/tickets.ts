/** Ids: tickets from memory and one by one, against the ways of the databases themselves. */
import { TcpProxy } from "@tesserae/test-support";
import { bigint, defineSchema, type Federation, federate, global } from "tesserae";
import { type Bare, type BenchEngine, openBare, POOL_SIZE } from "../bare.ts";
import { type BenchContext, type Case, defineBench, type Figure, inFlight, type Run } from "../harness.ts";
import { quantile } from "../statistics.ts";

const schema = defineSchema({
  key: bigint(),
  tables: {
    blocks: global({ id: bigint().ticket() }),
    singles: global({ id: bigint().ticket() }),
    counted: global({ id: bigint().table() }),
  },
});
const ticketing = { sequences: { singles: { mode: "single" } } } as const;
type TicketFederation = Federation<typeof schema>;

const ENGINES: readonly BenchEngine[] = ["mysql", "postgres", "sqlite"];
const TAKEN = 1_000;
/** Round trips of a slice: about a quarter of a second. A run of blocks lasts as long, however many ids that is. */
const OPERATIONS: Readonly<Record<BenchEngine, number>> = { mysql: 500, postgres: 1_500, sqlite: 500 };

/** A call that gives one id. */
type Call = () => Promise<unknown>;

interface TicketBench {
  readonly engine: BenchEngine;
  /** Where the tickets come from: nothing for main's counters. */
  readonly place: string;
  /** Makes the place what its name says, before each slice. */
  readonly prepare?: () => void;
  readonly baseline: string;
  /** What the engine has of its own, by the bare driver; the baseline among them. */
  readonly own: Readonly<Record<string, Call>>;
  readonly fed: TicketFederation;
}

export default defineBench({
  name: "tickets",
  about:
    "Ids a second: tickets in blocks, tickets one by one and table sequences, against REPLACE INTO … LAST_INSERT_ID(), nextval and an update on the bare driver.",
  notComparable: [
    "An id from a block is taken from memory, and one round trip leases up to 100,000 of them; every other way here is a round trip for each id. A process that ends loses what is left of its blocks: at most 200,000 ids of a sequence with the options as they are.",
    "A loop of blocks that does nothing but take ids measures promises; an application does something with each id.",
    "REPLACE, single tickets and table sequences on InnoDB flush at each id, as the server is shipped; MyISAM flushes nothing, and its ids may come again after a crash. PostgreSQL's nextval writes its log once for 32 ids and skips what a crash leaves; single tickets and table sequences there flush at each id.",
    "Client and server share the machine's cores.",
    "SQLite has no server: its baseline is an update with returning on a file of its own, synchronous as SQLite is shipped with WAL.",
  ],
  rounds: 9,
  async setup(context) {
    const cases: Case[] = [];
    const measured: (() => Promise<Figure[]>)[] = [];
    for (const engine of ENGINES) {
      const poorMans = await openTickets(context, engine);
      const isSmall = context.quick || engine === "sqlite";
      const servers = isSmall && engine !== "mysql" ? [] : await openTicketServers(context, engine, poorMans);
      for (const callers of isSmall ? [1] : [1, 8]) cases.push(casesFor(poorMans, callers));
      for (const bench of servers) cases.push(casesFor(bench, 1));
      for (const bench of [poorMans, ...servers])
        measured.push(() => callTimes(bench, context.quick ? 300 : 2_000));
    }
    return {
      cases,
      async figures() {
        const figures: Figure[] = [];
        for (const measure of measured) figures.push(...(await measure()));
        return figures;
      },
    };
  },
});

async function openTickets(context: BenchContext, engine: BenchEngine): Promise<TicketBench> {
  const [url, ownUrl] = (await context.databases(engine, 2)) as [string, string];
  const fed = await federate({
    schema,
    main: url,
    pool: { connectionsMax: POOL_SIZE },
    controlConnectionsMax: POOL_SIZE,
    ticketing,
  });
  context.onEnd(() => fed.close());
  await fed.schema.apply();
  const bare = openBare(engine, ownUrl);
  context.onEnd(() => bare.close());
  return { engine, place: "", fed, ...(await ownIds(engine, bare)) };
}

/** Two ticket servers, and the same with one of them down: behind a proxy that lets nobody in. */
async function openTicketServers(
  context: BenchContext,
  engine: BenchEngine,
  { baseline, own }: TicketBench,
): Promise<TicketBench[]> {
  const [main, first, second] = (await context.databases(engine, 3, { servers: 2 })) as [
    string,
    string,
    string,
  ];
  const proxy = await TcpProxy.toUrl(second);
  context.onEnd(() => proxy.close());
  const fed = await federate({
    schema,
    main,
    tickets: [first, proxy.url(second)],
    controlConnectionsMax: POOL_SIZE,
    ticketing,
  });
  context.onEnd(() => fed.close());
  await fed.schema.apply();
  const common = { engine, fed, baseline, own: { [baseline]: own[baseline] as Call } };
  const up = () => {
    if (proxy.state !== "open") proxy.heal();
  };
  const down = () => {
    if (proxy.state === "refusing") return;
    proxy.refuse();
    proxy.drop();
  };
  return [
    { ...common, place: ", two ticket servers", prepare: up },
    { ...common, place: ", two ticket servers, one of them down", prepare: down },
  ];
}

/** The engines' own ways to make ids on one server that many processes use. */
async function ownIds(engine: BenchEngine, bare: Bare): Promise<Pick<TicketBench, "baseline" | "own">> {
  if (engine === "postgres") {
    await bare.run("create sequence ids");
    const next = bare.prepare("next", "select nextval('ids') as id");
    return { baseline: "nextval", own: { nextval: () => next([]) } };
  }
  if (engine === "sqlite") {
    await bare.run("create table ids (name text primary key, next_id integer not null)");
    await bare.run("insert into ids values ('a', 1)");
    const next = bare.prepare("next", "update ids set next_id = next_id + 1 where name = 'a'");
    return { baseline: "update", own: { update: () => next([]) } };
  }
  const own: Record<string, Call> = {};
  for (const storage of ["InnoDB", "MyISAM"]) {
    const table = `ids_${storage.toLowerCase()}`;
    await bare.run(
      `create table ${table} (id bigint unsigned not null auto_increment primary key, stub char(1) not null unique) engine = ${storage}`,
    );
    // The answer carries the insert's id: LAST_INSERT_ID() without a second round trip.
    const replace = bare.prepare(table, `replace into ${table} (stub) values ('a')`);
    own[`REPLACE, ${storage}`] = () => replace([]);
  }
  return { baseline: "REPLACE, InnoDB", own };
}

function casesFor({ engine, place, prepare, fed, baseline, own }: TicketBench, callers: number): Case {
  const slow = Object.entries(own).map(([name, call]) => [name, inFlight(callers, call)] as const);
  return {
    case: `${callers === 1 ? "one caller" : `${callers} callers at once`}${place}`,
    engine,
    baseline,
    unit: "ids",
    operations: OPERATIONS[engine],
    beforeEach: async () => prepare?.(),
    variants: {
      ...Object.fromEntries(slow),
      "tickets.next, blocks": repeated(inFlight(callers, () => fed.tickets.next("blocks"))),
      [`tickets.take(${TAKEN}), blocks`]: repeated((operations) =>
        inFlight(callers, () => fed.tickets.take("blocks", TAKEN))(Math.ceil(operations / TAKEN)),
      ),
      "tickets.next, single": inFlight(callers, () => fed.tickets.next("singles")),
      ...(place === "" ? { "ids.next, table": inFlight(callers, () => fed.ids.next("counted")) } : {}),
    },
  };
}

/** A run over and over, as long as a slice: so few ids as the baseline gives in one would end within the clock's grain. */
function repeated(run: Run): Run {
  const enough_ms = 250;
  return async (operations) => {
    // Whole thousands: one call of `take` is one.
    const ids = Math.ceil(Math.max(operations, 200_000) / TAKEN) * TAKEN;
    const start = performance.now();
    let taken = 0;
    while (taken === 0 || performance.now() - start < enough_ms) {
      await run(ids);
      taken += ids;
    }
    return { elapsed_ms: ((performance.now() - start) * operations) / taken };
  };
}

/** How long single calls take, one after the other. */
async function callTimes(
  { engine, place, prepare, fed, own }: TicketBench,
  length_ms: number,
): Promise<Figure[]> {
  prepare?.();
  const calls: Record<string, Call> = {
    ...(place === "" ? own : {}),
    "tickets.next, blocks": () => fed.tickets.next("blocks"),
    "tickets.next, single": () => fed.tickets.next("singles"),
    ...(place === "" ? { "ids.next, table": () => fed.ids.next("counted") } : {}),
  };
  const figures: Figure[] = [];
  for (const [name, call] of Object.entries(calls)) {
    const times = await timeCalls(call, length_ms);
    const figure = (what: string, value: number) =>
      figures.push({
        case: `time of a call, one caller${place}`,
        engine,
        name: `${name}: ${what}`,
        value,
        unit: "ms",
      });
    figure("p50", quantile(times, 0.5));
    figure("p99", quantile(times, 0.99));
    figure("p99.9", quantile(times, 0.999));
    figure(
      "longest",
      times.reduce((longest, time) => Math.max(longest, time), 0),
    );
  }
  return figures;
}

const CALLS_MAX = 3_000_000;

async function timeCalls(call: Call, length_ms: number): Promise<number[]> {
  const times: number[] = [];
  const start = performance.now();
  let before = start;
  while (times.length < CALLS_MAX && before - start < length_ms) {
    await call();
    const after = performance.now();
    times.push(after - before);
    before = after;
  }
  return times;
}
