/** A process of its own that streams once and tells what that took of its memory: beside other contestants nobody's peak could be seen. */
import { federate } from "tesserae";
import { configuration } from "./dots.ts";
import { streamByHand, streamEverywhere } from "./stream.ts";

export interface StreamWish {
  readonly way: "by hand" | "fed.everywhere";
  readonly engine: "mysql" | "postgres";
  readonly main: string;
  readonly urls: readonly string[];
}

export interface StreamReport {
  readonly rows: number;
  readonly elapsed_ms: number;
  /** The peak of the resident memory above what the process took once it was connected, in MiB. */
  readonly grown_MiB: number;
}

const ROWS_FIRST = 1000;

async function stream({ way, engine, main, urls }: StreamWish): Promise<StreamReport> {
  const fed = await federate(configuration(main, urls));
  const hand = streamByHand(engine, urls);
  try {
    const read = way === "by hand" ? hand.read : streamEverywhere(fed);
    // Connections, prepared statements, code that is compiled at first use.
    await read(ROWS_FIRST);
    const before = process.memoryUsage.rss();
    const start = performance.now();
    const rows = await read();
    const elapsed_ms = performance.now() - start;
    const peak = process.resourceUsage().maxRSS * 1024;
    return { rows, elapsed_ms, grown_MiB: Math.max(0, peak - before) / 2 ** 20 };
  } finally {
    await hand.close();
    await fed.close();
  }
}

process.once("message", async (wish: StreamWish) => {
  const report = await stream(wish);
  process.send?.(report, () => process.disconnect());
});
