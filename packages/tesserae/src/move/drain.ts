/**
 * A shard is emptied: everything that rests on it is moved, everything that is on its way there or away is waited for. It is closed to new keys before, so that
 * this comes to an end.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { TesseraeError } from "../base/errors.ts";
import type { DirectoryRow, DirectoryRows } from "../directory/directory-rows.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { KeyRange, MoveStatus } from "./move-status.ts";

export interface DrainTools {
  readonly directoryRows: DirectoryRows;
  readonly federation: string;
  /** Shards that keys may go to. */
  readonly others: readonly number[];
  ranges(): Promise<readonly DirectoryRow[]>;
  moveKeys(keys: readonly KeyValue[], to: number): Promise<MoveStatus[]>;
  moveRange(range: KeyRange, to: number): Promise<MoveStatus[]>;
  /** Goes on with what nobody runs: moves, admissions, removals. */
  resumeLeft(): Promise<void>;
  /** Moves that have not ended. */
  unfinished(): Promise<MoveStatus[]>;
  /** Throws when the caller has left or the federation was closed. */
  checkEnded(): void;
}

/** Keys that go to one shard before the next one is chosen. */
const SPREAD_KEYS = 500;
const PAGE_KEYS = 5_000;
const POLL_MS = 100;
/** So often in a row may keys change under a page before that is an error. */
const CHANGED_MAX = 50;
/** What a key may be that rested on the shard a moment ago. */
const CHANGED: ReadonlySet<string> = new Set([
  "KEY_UNKNOWN",
  "MOVE_SAME_SHARD",
  "MOVE_UNDER_WAY",
  "TENANT_BUSY",
  "SERIALIZATION",
  "RANGE_UNKNOWN",
]);

/** Moves everything off `shard`, to `to` or spread by the number of keys. Gives the moves it made, as they were when their keys had arrived. */
export async function drainShard(
  tools: DrainTools,
  shard: number,
  to: number | undefined,
): Promise<MoveStatus[]> {
  const loads = new Map<number, number>();
  if (to === undefined)
    for (const other of tools.others)
      loads.set(other, await tools.directoryRows.count(other, ["active", "admitting", "moving"]));
  const emptiest = () =>
    to ?? ([...loads].reduce((best, each) => (each[1] < best[1] ? each : best))[0] as number);
  const statuses: MoveStatus[] = [];
  let changed = 0;
  const attempt = async (target: number, keys: number, move: () => Promise<MoveStatus[]>) => {
    try {
      statuses.push(...(await move()));
      loads.set(target, (loads.get(target) ?? 0) + keys);
      changed = 0;
    } catch (error) {
      // A key was moved or removed since it was listed: it is not listed again.
      if (!(error instanceof TesseraeError && CHANGED.has(error.code)) || ++changed > CHANGED_MAX)
        throw error;
    }
  };
  for (;;) {
    tools.checkEnded();
    const [range] = (await tools.ranges()).filter((row) => row.shard === shard && row.state === "active");
    if (range !== undefined) {
      const target = emptiest();
      await attempt(target, 0, () => tools.moveRange({ low: range.low, high: range.high }, target));
      continue;
    }
    const limit = to === undefined ? SPREAD_KEYS : PAGE_KEYS;
    const rows = await tools.directoryRows.pageOfShard({
      shard,
      state: "active",
      kind: "p",
      after: undefined,
      limit,
    });
    if (rows.length > 0) {
      const target = emptiest();
      const keys = rows.map(({ low }) => low);
      await attempt(target, keys.length, () => tools.moveKeys(keys, target));
      continue;
    }
    if (!(await restsElsewhere(tools, shard))) return statuses;
    await sleep(POLL_MS);
  }
}

/** Whether something is under way that may still come to rest on the shard, or has not left it yet. MOVE_UNDER_WAY when nobody will go on with it. */
async function restsElsewhere(tools: DrainTools, shard: number): Promise<boolean> {
  const moves = (await tools.unfinished()).filter(
    ({ from, to, step }) => (from === shard || to === shard) && step !== "purge",
  );
  const paused = moves.find(({ state }) => state === "paused");
  if (paused !== undefined)
    throw new TesseraeError(
      "MOVE_UNDER_WAY",
      `Shard ${shard} cannot be drained while ${paused.what} waits in a move that was paused (move ${paused.id}). Resume it, or abort it, and drain again.`,
      { shard, federation: tools.federation, operation: "drain" },
    );
  const underWay = await tools.directoryRows.count(shard, ["admitting", "removing"]);
  if (moves.length === 0 && underWay === 0) return false;
  await tools.resumeLeft();
  return true;
}
