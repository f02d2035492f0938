/** Ten thousand tiny tenants from server to server, in batches and one by one, against the engine's own pipe of the same rows. */
import { openBare } from "../bare.ts";
import { type BenchContext, type Case, defineBench } from "../harness.ts";
import { GRACE_MS, openMoving } from "../moving.ts";
import { type PipeEngine, pipe } from "../pipes.ts";

const ENGINES: readonly PipeEngine[] = ["mysql", "postgres"];
const TENANTS = 10_000;
const ONE_BY_ONE = 100;
const ROWS = 20;

export default defineBench({
  name: "move-many",
  about: `Moves ${TENANTS.toLocaleString("en-US")} tenants of ${ROWS} rows between two servers, in batches of 200 that share their round trips, two at a time.`,
  notComparable: [
    "The pipe copies the same rows in one stream, verifies nothing, changes no directory and deletes nothing at the source.",
    `"One by one" moves ${ONE_BY_ONE} tenants, each with a move of its own, two at a time, and is counted in tenants a second like the rest.`,
    "Both servers, the pipe's programs and this process share the machine's two cores.",
  ],
  rounds: 3,
  async setup(context) {
    const cases: Case[] = [];
    for (const engine of ENGINES) cases.push(await caseFor(context, engine));
    return { cases };
  },
});

async function caseFor(context: BenchContext, engine: PipeEngine): Promise<Case> {
  const tenants = context.quick ? 200 : TENANTS;
  const moving = await openMoving(context, engine);
  const keys = await moving.addTenants(tenants, ROWS);
  const [pipeUrl] = (await context.databases(engine, 1, { servers: 2 })) as [string];
  const plain = openBare(engine, pipeUrl);
  context.onEnd(() => plain.close());
  const like = engine === "postgres" ? '"C"' : "utf8mb4_nopad_bin";
  const moment = engine === "postgres" ? "timestamptz(3)" : "datetime(3)";
  await plain.run(
    `create table places (id bigint not null, user_id bigint not null, lat decimal(9, 6) not null, lon decimal(9, 6) not null, label varchar(100) collate ${like} not null, created ${moment} not null, primary key (user_id, id))`,
  );
  let shard = 1;
  const there = async () => {
    const to = shard === 1 ? 2 : 1;
    await moving.fed.moves.move(keys, { to, graceMs: GRACE_MS });
    shard = to;
  };
  return {
    case: `${tenants.toLocaleString("en-US")} tenants of ${ROWS} rows`,
    engine,
    baseline: "the engine's pipe",
    operations: 1,
    weight: tenants,
    unit: "tenants",
    beforeEach: async (variant) => {
      if (variant === "the engine's pipe") await plain.run("delete from places");
    },
    variants: {
      "the engine's pipe": () =>
        pipe(engine, moving.urls[shard - 1] as string, pipeUrl, { table: "places", where: "user_id > 0" }),
      "move, in batches": there,
      "move, one by one": async () => {
        const some = keys.slice(0, Math.min(ONE_BY_ONE, tenants));
        const begun = performance.now();
        const to = shard === 1 ? 2 : 1;
        await moving.fed.moves.move(some, { to, batchKeys: 1, graceMs: GRACE_MS });
        const elapsed_ms = performance.now() - begun;
        await moving.fed.moves.move(some, { to: shard, graceMs: GRACE_MS });
        return { elapsed_ms: (elapsed_ms * tenants) / some.length };
      },
    },
  };
}
