/** A process that moves keys and ranges until it is killed: `steady-mover.child.ts <json of SteadyMoverWork>`. */
import { openAlbums } from "../move/albums.ts";
import { RandomMoves } from "./random-moves.ts";

export interface SteadyMoverWork {
  readonly urls: readonly string[];
  readonly keys: readonly string[];
  readonly ranged: readonly string[];
  readonly range: readonly [string, string];
  readonly seed: number;
}

const work = JSON.parse(process.argv[2] as string) as SteadyMoverWork;
const albums = await openAlbums(work.urls, { apply: false, runnerSilentMs: 200 });
const [low, high] = work.range.map(BigInt) as [bigint, bigint];
const things = {
  shards: work.urls.length - 1,
  keys: work.keys.map(BigInt),
  ranged: work.ranged.map(BigInt),
  range: { low, high },
};
process.once("disconnect", () => process.exit());
process.send?.("ready");
await Promise.all([1, 2].map((at) => new RandomMoves(albums.fed, things, work.seed + at).run()));
