/** The stream of all rows: rows a second in turns, and memory in processes of their own. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { BenchContext, Case, Figure } from "../harness.ts";
import { median } from "../statistics.ts";
import { BY_HAND } from "./by-hand.ts";
import type { Shards } from "./dots.ts";
import { EVERYWHERE } from "./everywhere.ts";
import { type StreamDots, streamByHand, streamEverywhere } from "./stream.ts";
import type { StreamReport, StreamWish } from "./stream-client.ts";

export const STREAM = "all rows in order, as a stream";

export function streamCase(context: BenchContext, { engine, urls, fed, shape }: Shards): Case {
  const hand = streamByHand(engine, urls);
  context.onEnd(() => hand.close());
  const whole = (read: StreamDots) => async () => {
    const rows = await read();
    if (rows !== shape.rows) throw new Error(`A stream of ${shape.rows} rows gave ${rows}.`);
  };
  return {
    case: STREAM,
    engine,
    baseline: BY_HAND,
    operations: 1,
    weight: shape.rows,
    unit: "rows",
    variants: {
      [BY_HAND]: whole(hand.read),
      [EVERYWHERE]: whole(streamEverywhere(fed)),
    },
  };
}

export async function streamMemory(shards: Shards, times: number): Promise<Figure[]> {
  const { engine, shape, urls, main } = shards;
  const ways: StreamWish["way"][] = [BY_HAND, EVERYWHERE];
  const grown = new Map<string, number[]>(ways.map((way) => [way, []]));
  for (let time = 0; time < times; time += 1)
    for (const way of ways) {
      const report = await runClient({ way, engine, main, urls });
      if (report.rows !== shape.rows) throw new Error(`${way} streamed ${report.rows} rows.`);
      grown.get(way)?.push(report.grown_MiB);
    }
  return ways.map((way) => ({
    case: STREAM,
    engine,
    name: `${way}, memory above that of the connected process, median of ${times}`,
    value: median(grown.get(way) as number[]),
    unit: "MiB",
  }));
}

async function runClient(wish: StreamWish): Promise<StreamReport> {
  const client = fork(join(import.meta.dirname, "stream-client.ts"), {
    // Not `--expose-gc`: nobody empties an application's memory for it.
    execArgv: process.execArgv.filter((option) => option !== "--expose-gc"),
  });
  let report: StreamReport | undefined;
  client.once("message", (message) => {
    report = message as StreamReport;
  });
  client.send(wish);
  const [code] = (await once(client, "exit")) as [number | null];
  if (report === undefined) throw new Error(`The streaming process ended with ${code} and no report.`);
  return report;
}
