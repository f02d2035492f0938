/** Rows of three shards brought into DuckDB, and a join across keys over all of them, against the same by hand. */
import { openBare } from "../bare.ts";
import { dotsShape, openShards, type Shards } from "../fan-out/dots.ts";
import { type BenchContext, type Case, defineBench } from "../harness.ts";

const ENGINES = ["mysql", "postgres"] as const;
const ROWS = 1_000_000;
const QUICK_ROWS = 30_000;
const GATHERED = "fed.gather";

/** Dots of two users, one a second after the other: no shard can tell alone. */
const PAIRS =
  "select count(*) as pairs from dots a join dots b on b.created = a.created + interval 1 second where a.user_id <> b.user_id";

export default defineBench({
  name: "gather",
  about:
    "Brings the rows of three shards into DuckDB by fed.gather: against the same rows streamed and thrown away, and, with a join across keys over all of them, against the bare drivers and a map in JavaScript.",
  notComparable: [
    "The three shards, the federation's main, the client and DuckDB's two threads share the machine's two cores.",
    "The join by hand is made for this one question and holds all rows in the process's memory; DuckDB takes any SQL, and goes on in a temporary folder beyond its limit, which is the default of 512 MiB here.",
    "Each operation is a whole gathering, with an engine that is opened and closed.",
    "The library's rows are in logical types and are each given once while keys move; the bare drivers' are as they come.",
  ],
  rounds: 5,
  async setup(context) {
    const shape = dotsShape(context.quick ? QUICK_ROWS : ROWS);
    const cases: Case[] = [];
    for (const engine of ENGINES) {
      context.say(`Filling ${engine} with ${shape.rows} rows`);
      const shards = await openShards(context, engine, shape);
      cases.push(bringing(shards), joining(context, shards));
    }
    return { cases, remarks: [`${shape.rows.toLocaleString("en-US")} rows on three shards.`] };
  },
});

/** What DuckDB takes, above the reading itself. */
function bringing({ engine, fed, shape }: Shards): Case {
  const rows = () =>
    fed.everywhere.selectFrom("dots").select(["id", "user_id", "category", "score", "created"]);
  return {
    case: "all rows of five columns into one place",
    engine,
    baseline: "streamed and thrown away",
    operations: 1,
    weight: shape.rows,
    unit: "rows",
    variants: {
      "streamed and thrown away": async () => {
        let count = 0;
        for await (const _ of rows().stream()) count += 1;
        expect(count, shape.rows);
      },
      [GATHERED]: async () => {
        const [answer] = await fed.gather<{ n: bigint }>({ dots: rows() }, "select count(*) as n from dots");
        expect(Number(answer?.n), shape.rows);
      },
    },
  };
}

function joining(context: BenchContext, { engine, urls, fed, shape }: Shards): Case {
  const shards = urls.map((url) => openBare(engine, url));
  for (const shard of shards) context.onEnd(() => shard.close());
  const asks = shards.map((shard) => shard.prepare("pairs", "select user_id, created from dots"));
  let pairs: number | undefined;
  const check = (found: number) => {
    pairs ??= found;
    expect(found, pairs);
  };
  return {
    case: "a join across keys over all rows",
    engine,
    baseline: "by hand, in memory",
    operations: 1,
    weight: shape.rows,
    unit: "rows",
    variants: {
      "by hand, in memory": async () => {
        const users = new Map<number, string>();
        for (const rows of await Promise.all(asks.map((ask) => ask([]))))
          for (const row of rows as { user_id: unknown; created: Date }[])
            users.set(Number(row.created), String(row.user_id));
        let found = 0;
        for (const [created, user] of users) {
          const other = users.get(created + 1000);
          if (other !== undefined && other !== user) found += 1;
        }
        check(found);
      },
      [GATHERED]: async () => {
        const dots = fed.everywhere.selectFrom("dots").select(["user_id", "created"]);
        const [answer] = await fed.gather<{ pairs: bigint }>({ dots }, PAIRS);
        check(Number(answer?.pairs));
      },
    },
  };
}

function expect(found: number, wanted: number): void {
  if (found !== wanted) throw new Error(`Found ${found} where ${wanted} were expected.`);
}
