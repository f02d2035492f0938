/** What is to move: where it is now, and whether anything is in its way. Nothing here writes. */
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { type DirectoryRow, isServed } from "../directory/directory-rows.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { MoveParts } from "./move-work.ts";
import { preflight } from "./preflight.ts";

const RANGES_PAGE = 1_000;
const POINTS_PAGE = 500;

export interface Located {
  readonly key: KeyValue;
  readonly row: DirectoryRow;
}

export interface MoveSubjectsOptions {
  readonly parts: MoveParts;
  /** Passed before the first statement on a shard. */
  shardGate(shard: number): Promise<void>;
}

export class MoveSubjects {
  readonly #parts: MoveParts;
  readonly #options: MoveSubjectsOptions;

  constructor(options: MoveSubjectsOptions) {
    this.#parts = options.parts;
    this.#options = options;
  }

  /** Inspects the keys in pages; those that a range serves one by one. KEY_UNKNOWN. */
  async locate(values: readonly KeyValue[]) {
    const { keys, directoryRows } = this.#parts;
    const unique = new Map(values.map((value) => keys.check(value)).map((key) => [keys.cacheKey(key), key]));
    const sorted = [...unique.values()].sort((a, b) => keys.compare(a, b));
    const points: Located[] = [];
    const served: Located[] = [];
    for (let start = 0; start < sorted.length; start += POINTS_PAGE) {
      const page = sorted.slice(start, start + POINTS_PAGE);
      const rows = new Map((await directoryRows.points(page)).map((row) => [keys.cacheKey(row.low), row]));
      for (const key of page) {
        const row = rows.get(keys.cacheKey(key));
        if (row === undefined) served.push({ key, row: await this.lookup(key) });
        else points.push({ key, row: this.#served(row, key) });
      }
    }
    return { points, served };
  }

  /** Where a key moves already, the move is named. Whoever begins one at the same moment is refused by the begin itself. */
  async refuseMoving(located: readonly Located[]): Promise<void> {
    const moving = located.find(({ row }) => row.state === "moving");
    if (moving === undefined) return;
    const move = await this.#parts.directoryRows.moveOf(moving.row);
    throw new TesseraeError(
      "MOVE_UNDER_WAY",
      `Key ${this.#parts.keys.show(moving.key)} of federation "${this.#parts.federation.name}" is being moved from shard ${moving.row.shard} already${move === undefined ? "" : `, by move ${move}`}. Wait for it, or abort it.`,
      { ...this.#place("moves.move", moving.key), shard: moving.row.shard },
    );
  }

  async lookup(key: KeyValue): Promise<DirectoryRow> {
    return this.#served(await this.#parts.directoryRows.lookup(key, this.#parts.keys.compare), key);
  }

  #served(row: DirectoryRow | undefined, key: KeyValue): DirectoryRow {
    if (row !== undefined && isServed(row)) return row;
    throw new TesseraeError(
      "KEY_UNKNOWN",
      `Key ${this.#parts.keys.show(key)} of federation "${this.#parts.federation.name}" has no shard${row === undefined ? ": it was never added" : ` (${row.state})`}. There is nothing to move.`,
      this.#place("moves", key),
    );
  }

  async rangeOf(key: KeyValue): Promise<DirectoryRow> {
    const range = (await this.ranges()).find(
      ({ low, high }) =>
        this.#parts.keys.compare(low, key) <= 0 && (high === null || this.#parts.keys.compare(key, high) < 0),
    );
    if (range !== undefined) return range;
    throw new TesseraeError(
      "RANGE_UNKNOWN",
      `No range of federation "${this.#parts.federation.name}" holds key ${this.#parts.keys.show(key)}. fed.tenants.ranges() shows what is there.`,
      this.#place("moves", key),
    );
  }

  async ranges(): Promise<DirectoryRow[]> {
    const ranges: DirectoryRow[] = [];
    for (let after: KeyValue | undefined; ; ) {
      const page = await this.#parts.directoryRows.page({ kind: "r", after, limit: RANGES_PAGE });
      ranges.push(...page);
      if (page.length < RANGES_PAGE) return ranges;
      after = page.at(-1)?.low;
    }
  }

  /** From where to where a range moves before two become one. What cannot be merged is refused when it begins. */
  async checkMerge(at: KeyValue, to: number | undefined) {
    const { keys } = this.#parts;
    const ranges = await this.ranges();
    const upper = ranges.find(({ low }) => keys.compare(low, at) === 0);
    const lower = ranges.find(({ high }) => high !== null && keys.compare(high, at) === 0);
    const target = to ?? lower?.shard;
    const moving = lower?.shard === target ? upper : lower;
    const isOnTarget = lower?.shard === target || upper?.shard === target;
    if (moving !== undefined && target !== undefined && isOnTarget)
      await this.preflight([moving], moving.shard, target);
    return { source: moving?.shard, target };
  }

  async preflight(
    members: readonly Pick<DirectoryRow, "kind" | "low" | "high" | "epoch">[],
    source: number,
    target: number,
  ): Promise<void> {
    if (source === target) return;
    const checkShard = async (shard: number) => {
      await this.#options.shardGate(shard);
      await this.#parts.checkSchema(shard);
    };
    for (let start = 0; start < members.length; start += POINTS_PAGE) {
      const page = members.slice(start, start + POINTS_PAGE);
      try {
        await preflight(
          this.#parts,
          page,
          { source, target },
          { checkShard: start === 0 ? checkShard : async () => {} },
        );
      } catch (error) {
        const isOfPlaces =
          isTesseraeError(error, "RESIDENCE_CONFLICT") || isTesseraeError(error, "MOVE_TARGET_NOT_EMPTY");
        if (!isOfPlaces || !(await this.#haveMoved(page, source))) throw error;
        throw new TesseraeError(
          "SERIALIZATION",
          "What is to move was moved by somebody else meanwhile. Look where it is now, and ask again.",
          this.#place("moves"),
        );
      }
    }
  }

  /** Whether another move has begun or ended since the directory was read: what was found at the target may be that one's. */
  async #haveMoved(
    members: readonly Pick<DirectoryRow, "kind" | "low" | "epoch">[],
    source: number,
  ): Promise<boolean> {
    const { control, directoryRows, keys } = this.#parts;
    for (const { kind, low, epoch } of members) {
      const row =
        kind === "p"
          ? await directoryRows.lookup(low, keys.compare)
          : await directoryRows.rangeAtOrBelow(control, low);
      if (row?.state !== "active" || row.shard !== source || row.epoch !== epoch) return true;
    }
    return false;
  }

  #place(operation: string, key?: KeyValue) {
    return {
      federation: this.#parts.federation.name,
      operation,
      key: key === undefined ? undefined : this.#parts.keys.toText(key),
    };
  }
}
