/** A tenant of a million rows from server to server against the engine's own pipe; the pause of its writers; what the others notice. */
import type { MoveStatus, MoveStep } from "tesserae";
import { openBare } from "../bare.ts";
import { type BenchContext, type Case, defineBench, type Figure } from "../harness.ts";
import { GRACE_MS, type Moving, openMoving, writeTo } from "../moving.ts";
import { type PipeEngine, pipe } from "../pipes.ts";
import { median, quantile } from "../statistics.ts";

const ENGINES: readonly PipeEngine[] = ["mysql", "postgres"];
const SIZES = { rows: 1_000_000, small: 300, smallRows: 20, large: 20, largeRows: 50_000 };
const QUICK_SIZES = { rows: 20_000, small: 5, smallRows: 20, large: 2, largeRows: 1_000 };
const OPTIONS = { graceMs: GRACE_MS };

export default defineBench({
  name: "move",
  about:
    "Moves a tenant of 1,000,000 rows (50,000 in the pauses' large ones) between two servers, and pipes the same rows with the engine's own tools.",
  notComparable: [
    "The pipes (psql copy to copy; mariadb-dump to mariadb) check nothing, log nothing, and hold no writer back; the table they fill has the same keys and no guard.",
    "The ratio is that of the copy alone; what verification, purge and the whole call take beside it is told in seconds.",
    "Both begin with a table whose statistics are fresh, as after an import and its analyze.",
    "Both servers, the pipe's programs and this process share the machine's two cores.",
  ],
  rounds: 3,
  async setup(context) {
    const sizes = context.quick ? QUICK_SIZES : SIZES;
    const cases: Case[] = [];
    const measured: (() => Promise<Figure[]>)[] = [];
    for (const engine of ENGINES) {
      const moving = await openMoving(context, engine);
      const [giant] = (await moving.addTenants(1, sizes.rows)) as [bigint];
      const { bulk, figures } = await bulkCase(context, moving, giant, sizes.rows);
      cases.push(bulk);
      measured.push(async () => [...figures(), ...(await pauses(context, moving, sizes))]);
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

type Sizes = typeof SIZES;

/** When each step began, in milliseconds. */
class Stopwatch {
  readonly #started = performance.now();
  readonly #begun = new Map<MoveStep, number>();

  note(status: MoveStatus): void {
    if (!this.#begun.has(status.step)) this.#begun.set(status.step, performance.now());
  }

  between(from: MoveStep | "call", to: MoveStep): number {
    const begun = from === "call" ? this.#started : this.#begun.get(from);
    return (this.#begun.get(to) as number) - (begun as number);
  }
}

async function bulkCase(
  context: BenchContext,
  moving: Moving,
  key: bigint,
  rows: number,
): Promise<{ readonly bulk: Case; figures(): Figure[] }> {
  const { engine, fed, urls, bare } = moving;
  const plain = await plainCopies(context, moving);
  const name = `${rows.toLocaleString("en-US")} rows of one tenant`;
  const watches: Stopwatch[] = [];
  let shard = 1;
  const there = async () => {
    const to = shard === 1 ? 2 : 1;
    const watch = new Stopwatch();
    await fed.moves.move(key, { to, ...OPTIONS, onProgress: (status) => watch.note(status) });
    shard = to;
    return watch;
  };
  const bulk: Case = {
    case: name,
    engine,
    baseline: "the engine's pipe",
    operations: 1,
    weight: rows,
    unit: "rows",
    beforeEach: async (variant) => {
      if (variant === "the engine's pipe")
        for (const { table } of plain) await table.run("delete from places");
      await bare[shard - 1]?.run(engine === "postgres" ? "vacuum analyze places" : "analyze table places");
    },
    variants: {
      "the engine's pipe": async () => {
        const { url } = plain[shard - 1] as (typeof plain)[number];
        await pipe(engine, urls[shard - 1] as string, url, { table: "places", where: `user_id = ${key}` });
      },
      "move, copy": async () => {
        const watch = await there();
        watches.push(watch);
        return { elapsed_ms: watch.between("copy", "catchUp") };
      },
      "move, copy beside 500 writes/s": async () => {
        const writer = writeTo(moving, key, rows, 500);
        const watch = await there();
        await writer.stop();
        return { elapsed_ms: watch.between("copy", "catchUp") };
      },
    },
  };
  const seconds = (what: string, from: MoveStep | "call", to: MoveStep): Figure => ({
    case: name,
    engine,
    name: what,
    value: median(watches.map((watch) => watch.between(from, to))) / 1000,
    unit: "s",
  });
  return {
    bulk,
    figures: () => [
      seconds("copy", "copy", "catchUp"),
      seconds("verification", "verify", "freeze"),
      seconds("purge of the source, with its grace", "purge", "done"),
      seconds("the whole call", "call", "done"),
    ],
  };
}

/** The same table without guard and residences, for the pipe to fill: for each shard one on the other's server. */
async function plainCopies(context: BenchContext, moving: Moving) {
  const urls = (await context.databases(moving.engine, 2, { servers: 2 })) as [string, string];
  return Promise.all(
    urls.map(async (url) => {
      const table = openBare(moving.engine, url);
      context.onEnd(() => table.close());
      for (const sql of PLAIN_TABLE[moving.engine]) await table.run(sql);
      return { url, table };
    }),
  );
}

/** As `schema.apply` makes it, without the guard. */
const PLAIN_TABLE: Readonly<Record<PipeEngine, readonly string[]>> = {
  mysql: [
    "create table places (id bigint not null, user_id bigint not null, lat decimal(9, 6) not null, lon decimal(9, 6) not null, label varchar(100) collate utf8mb4_nopad_bin not null, created datetime(3) not null, primary key (user_id, id)) engine = InnoDB",
  ],
  postgres: [
    'create table places (id bigint not null, user_id bigint not null, lat numeric(9, 6) not null, lon numeric(9, 6) not null, label varchar(100) collate "C" not null, created timestamptz(3) not null, primary key (user_id, id))',
  ],
};

async function pauses(context: BenchContext, moving: Moving, sizes: Sizes): Promise<Figure[]> {
  const { engine } = moving;
  const small = await moving.addTenants(sizes.small, sizes.smallRows);
  const large = await moving.addTenants(sizes.large, sizes.largeRows);
  return [
    ...(await pauseOf(
      context,
      moving,
      small,
      sizes.smallRows,
      `pause, ${sizes.small} tenants of ${sizes.smallRows} rows`,
    )),
    ...(await pauseOf(
      context,
      moving,
      large,
      sizes.largeRows,
      `pause, ${sizes.large} tenants of ${sizes.largeRows} rows`,
    )),
    ...(await othersOf(context, moving, small, large, sizes)).map((figure) => ({ ...figure, engine })),
  ];
}

/** One writer of the moved tenant, one write after the other: the longest of them met the pause. */
async function pauseOf(
  context: BenchContext,
  moving: Moving,
  keys: readonly bigint[],
  rows: number,
  name: string,
): Promise<Figure[]> {
  const longest: number[] = [];
  const frozen: number[] = [];
  context.say(`${name} (${moving.engine})`);
  for (const key of keys) {
    const writer = writeTo(moving, key, rows);
    const { pauseMs } = await moving.fed.moves.move(key, { to: 2, ...OPTIONS, waitFor: "arrived" });
    await writer.stop();
    longest.push(quantile(writer.latencies, 1));
    frozen.push(pauseMs ?? 0);
  }
  const figure = (what: string, values: readonly number[]): Figure[] => [
    { case: name, engine: moving.engine, name: `${what}, p50`, value: median(values), unit: "ms" },
    { case: name, engine: moving.engine, name: `${what}, p99`, value: quantile(values, 0.99), unit: "ms" },
    { case: name, engine: moving.engine, name: `${what}, max`, value: quantile(values, 1), unit: "ms" },
  ];
  return [...figure("longest write", longest), ...figure("frozen", frozen)];
}

const OTHERS = 8;
const QUIET_MS = 5_000;
const RATE = 20_000;

/** Eight other tenants of both shards, before and during a throttled move back of the large ones. */
async function othersOf(
  context: BenchContext,
  moving: Moving,
  small: readonly bigint[],
  large: readonly bigint[],
  sizes: Sizes,
): Promise<Omit<Figure, "engine">[]> {
  const others = small.slice(0, OTHERS);
  const name = `${OTHERS} other tenants, 50 writes/s each`;
  context.say(`${name} (${moving.engine})`);
  const watch = async (meanwhile: () => Promise<unknown>) => {
    const writers = others.map((key) => writeTo(moving, key, sizes.smallRows, 50));
    await meanwhile();
    await Promise.all(writers.map((writer) => writer.stop()));
    return quantile(
      writers.flatMap((writer) => writer.latencies),
      0.99,
    );
  };
  const before = await watch(
    () => new Promise((resolve) => setTimeout(resolve, context.quick ? 500 : QUIET_MS)),
  );
  const during = await watch(() =>
    moving.fed.moves.move(large.slice(0, 2), { to: 1, rowsPerSecond: RATE, parallel: 1, ...OPTIONS }),
  );
  return [
    { case: name, name: "p99 before", value: before, unit: "ms" },
    {
      case: name,
      name: `p99 during a move of ${RATE.toLocaleString("en-US")} rows/s`,
      value: during,
      unit: "ms",
    },
    { case: name, name: "during / before", value: during / before, unit: "" },
  ];
}
