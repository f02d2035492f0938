/** One question to three shards: the library against the shards asked by hand, and against engines that put servers together. */

import { BY_HAND } from "../fan-out/by-hand.ts";
import { openContestants } from "../fan-out/contestants.ts";
import { dotsShape, openShards, type Shards } from "../fan-out/dots.ts";
import { type Ask, type Contestant, QUESTION_NAMES, QUESTIONS } from "../fan-out/questions.ts";
import { streamCase, streamMemory } from "../fan-out/stream-cases.ts";
import { type Case, defineBench, type Figure, inFlight } from "../harness.ts";
import { median } from "../statistics.ts";

const ENGINES = ["mysql", "postgres"] as const;
const ROWS = 1_000_000;
const QUICK_ROWS = 30_000;

/** `FAN_OUT_ROWS=50000 npm run bench -- fan-out --quick` tries the bench with other numbers of rows. */
function wantedRows(quick: boolean): number {
  const given = process.env["FAN_OUT_ROWS"];
  if (given === undefined) return quick ? QUICK_ROWS : ROWS;
  const rows = Number(given);
  if (!Number.isSafeInteger(rows) || rows < 3_000)
    throw new Error(`FAN_OUT_ROWS must be a whole number of at least 3000, and is "${given}".`);
  return rows;
}

export default defineBench({
  name: "fan-out",
  about:
    "Asks three shards, on servers of their own, the same questions; the baseline is the bare driver, all shards at the same time, with parts put together by hand.",
  notComparable: [
    "The three shards, the fourth server that Spider, postgres_fdw and PL/Proxy stand on, the federation's main and the client share the machine's two cores. So shards that are asked at the same time do not answer in a third of the time, and what a contestant takes for itself is taken from the shards, too.",
    "Spider, postgres_fdw and PL/Proxy answer through one more server on the loopback interface, with nothing of a network's latency; in return they work for any client. They promise nothing about rows that are moved between shards meanwhile, nor does the code by hand; the library gives each row once.",
    "The code by hand knows that a user's rows are on one shard, gives counts as numbers and decimals as text, and checks nothing. The library's query is built anew for each asking.",
    "Queries of the code by hand, Spider, postgres_fdw and PL/Proxy are prepared statements on connections that stay open.",
    "PL/Proxy's functions are written by hand for each question, with what each shard does and how the parts are put together.",
    "The library keeps the plan of a query that is the same to its last value, as here all but the one by an indexed column are, and plans others anew.",
    "Streams are merged by hand from mysql2's row streams and from cursors of pg-cursor; memory is that of the client process alone.",
    "All data are in memory, and nothing is written meanwhile.",
  ],
  rounds: 5,
  async setup(context) {
    const shape = dotsShape(wantedRows(context.quick));
    const cases: Case[] = [];
    const remarks = [
      `${shape.rows.toLocaleString("en-US")} rows of ${(3 * shape.usersOfShard).toLocaleString("en-US")} users on three shards, by ranges of the key.`,
      "Answers of all contestants were compared with each other before anything was timed. A ratio of 0.952 is 1.05 times the time by hand, one of 0.5 twice the time.",
    ];
    const measured: (() => Promise<Figure[]>)[] = [];
    for (const engine of ENGINES) {
      context.say(`Filling ${engine} with ${shape.rows} rows`);
      const shards = await openShards(context, engine, shape);
      const opened = await openContestants(context, shards);
      remarks.push(...opened.remarks);
      cases.push(...questionCases(shards, opened.contestants), streamCase(context, shards));
      measured.push(
        () => latencies(shards, opened.contestants, context.quick ? 50 : 300),
        () => streamMemory(shards, context.quick ? 1 : 3),
      );
    }
    return {
      cases,
      remarks,
      async figures() {
        const figures: Figure[] = [];
        for (const measure of measured) figures.push(...(await measure()));
        return figures;
      },
    };
  },
});

function questionCases({ engine }: Shards, contestants: readonly Contestant[]): Case[] {
  return QUESTION_NAMES.map((question) => {
    const asks = contestants.flatMap(({ name, asks }): [string, Ask][] => {
      const ask = asks[question];
      return ask === undefined ? [] : [[name, ask]];
    });
    return {
      case: QUESTIONS[question].title,
      engine,
      baseline: BY_HAND,
      unit: "answers",
      ownPace: true,
      variants: Object.fromEntries(asks.map(([name, ask]) => [name, inFlight(1, ask)])),
    };
  });
}

/** How long one small question takes, one at a time, everybody in turn: what is added to the shards' own time. */
async function latencies(
  { engine }: Shards,
  contestants: readonly Contestant[],
  count: number,
): Promise<Figure[]> {
  const times = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  for (let number = 0; number < count; number += 1)
    for (const { name, asks } of contestants) {
      if (asks.point === undefined) continue;
      const start = performance.now();
      await asks.point(number * 31);
      times.get(name)?.push(performance.now() - start);
    }
  return [...times]
    .filter(([, taken]) => taken.length > 0)
    .map(([name, taken]) => ({
      case: QUESTIONS.point.title,
      engine,
      name: `${name}, median of ${count}`,
      value: median(taken),
      unit: "ms",
    }));
}
