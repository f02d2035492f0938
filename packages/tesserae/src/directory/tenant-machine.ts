/**
 * The state machine of a key's admission and removal, and of a range's admission.
 *
 *     admitting ──▶ active ──▶ removing ──▶ purging ──▶ removed ──▶ admitting …
 *                      ▲           │
 *                      └───────────┘ rows were found, and they were not to be deleted
 *
 * - admitting: the directory has the key; what an unfinished move may have left of it on the shard is deleted; the residence is made `here`; then `active`.
 * - removing: no route is given any more; the residence is made `gone`, which waits for open writers of the key and lets no new one through; then the
 *   rows are looked at. When they are not to be deleted, the residence becomes `here` again and the key `active`. Nothing is deleted in this state.
 * - purging: rows are deleted in batches. From here it goes only forward.
 * - removed: a tombstone that keeps the epoch. The shard keeps its `gone` residence as well: it is what fences off a process that slept through all of it.
 *
 * Whoever works on a row raises its token in main first ("claims" it), and every write, in main and on the shard, goes on only if no larger token is
 * there. Each step may run any number of times, by any process. `MachineWork.run` is the only code that changes a state.
 */
import type { ControlStore } from "../engine/control-store.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { DirectoryRow, DirectoryRows, DirectoryState } from "./directory-rows.ts";
import type { ResidenceRows, SettleResult } from "./residence-rows.ts";
import type { TenantRows } from "./tenant-rows.ts";

/** Where a test may stop or kill the process: what has just been made durable. */
export type MachinePoint =
  | "admitting:claimed"
  | "admitting:residence"
  | "admitting:active"
  | "removing:claimed"
  | "removing:gone"
  | "removing:thawed"
  | "removing:active"
  | "purging:claimed"
  | "purging:batch"
  | "purging:empty"
  | "purging:removed";

/** What the machine needs of one shard. */
export interface MachineShard {
  readonly residences: ResidenceRows;
  readonly rows: TenantRows;
}

export interface MachineParts {
  readonly control: ControlStore;
  readonly directoryRows: DirectoryRows;
  readonly purgeBatchRows: number;
  shard(id: number): MachineShard;
  at(point: MachinePoint): void | Promise<void>;
}

/** Deleting a tenant takes long: so often its row is touched, that others see somebody at work. */
const HEARTBEAT_MS = 500;
const TOMBSTONES_PAGE = 500;

const UNDER_WAY: ReadonlySet<DirectoryState> = new Set(["admitting", "removing", "purging"]);

export const isUnderWay = (row: DirectoryRow): boolean => UNDER_WAY.has(row.state);

export class TenantMachine {
  readonly #parts: MachineParts;

  constructor(parts: MachineParts) {
    this.#parts = parts;
  }

  /**
   * Claims a row that somebody else left under way: undefined when it has changed since it was read.
   */
  claim(seen: DirectoryRow, tokenAtLeast = 0n): Promise<DirectoryRow | undefined> {
    const { control, directoryRows } = this.#parts;
    return control.transaction(async (transaction) => {
      const row = await directoryRows.lock(transaction, seen.kind, seen.low);
      if (row === undefined || row.token !== seen.token || row.state !== seen.state || !isUnderWay(row))
        return undefined;
      const token = row.token + 1n > tokenAtLeast ? row.token + 1n : tokenAtLeast;
      const claimed = { ...row, token };
      return (await directoryRows.update(transaction, claimed, row.token)) ? claimed : undefined;
    });
  }

  /**
   * Brings a claimed row to rest, `active` or `removed`. `deleteRows` says what to do with rows found in `removing`. Undefined: somebody else
   * has claimed the row since.
   */
  async run(claimed: DirectoryRow, deleteRows: boolean): Promise<DirectoryRow | undefined> {
    let row: DirectoryRow | undefined = claimed;
    while (row !== undefined && isUnderWay(row)) {
      if (row.state === "admitting") row = await this.#admit(row);
      else if (row.state === "removing") row = await this.#withdraw(row, deleteRows);
      else row = await this.#purge(row);
    }
    return row;
  }

  async #admit(row: DirectoryRow): Promise<DirectoryRow | undefined> {
    await this.#parts.at("admitting:claimed");
    if (row.kind === "r") await this.#fenceTombstones(row);
    else if (row.epoch > 1n) {
      const empty = await this.#empty(row);
      if (empty !== row) return empty;
    }
    const settled = await this.#settle(row, "here");
    if (settled !== row) return settled;
    await this.#parts.at("admitting:residence");
    const active = await this.#step(row, "active");
    await this.#parts.at("admitting:active");
    return active;
  }

  /**
   * A key comes back, perhaps to a shard that it once moved away from, and the purge of that move was left unfinished: what it left must not be the
   * key's again. Gives the row back when the shard has nothing of it.
   */
  async #empty(row: DirectoryRow): Promise<DirectoryRow | undefined> {
    const { residences, rows } = this.#parts.shard(row.shard);
    const residence = await residences.find("p", row.low);
    if (residence?.state !== "gone" || (await rows.firstTableWithRows(row.low)) === undefined) return row;
    const gone = await this.#settle(row, "gone");
    if (gone !== row) return gone;
    const { purgeBatchRows: batchRows } = this.#parts;
    const purge = { key: row.low, fence: row, residences, batchRows, between: async () => true };
    return (await rows.purge(purge)) ? row : undefined;
  }

  async #withdraw(row: DirectoryRow, deleteRows: boolean): Promise<DirectoryRow | undefined> {
    await this.#parts.at("removing:claimed");
    const gone = await this.#settle(row, "gone");
    if (gone !== row) return gone;
    await this.#parts.at("removing:gone");
    if (deleteRows || (await this.#parts.shard(row.shard).rows.firstTableWithRows(row.low)) === undefined)
      return this.#step(row, "purging");
    const here = await this.#settle(row, "here");
    if (here !== row) return here;
    await this.#parts.at("removing:thawed");
    const active = await this.#step(row, "active");
    await this.#parts.at("removing:active");
    return active;
  }

  async #purge(row: DirectoryRow): Promise<DirectoryRow | undefined> {
    await this.#parts.at("purging:claimed");
    // Again: whoever takes over puts its token on the shard first, and so stops the one before.
    const gone = await this.#settle(row, "gone");
    if (gone !== row) return gone;
    const { residences, rows } = this.#parts.shard(row.shard);
    let touched = performance.now();
    const between = async (): Promise<boolean> => {
      await this.#parts.at("purging:batch");
      if (performance.now() - touched < HEARTBEAT_MS) return true;
      touched = performance.now();
      return (await this.#step(row, "purging")) !== undefined;
    };
    const { purgeBatchRows: batchRows } = this.#parts;
    if (!(await rows.purge({ key: row.low, fence: row, residences, batchRows, between }))) return undefined;
    await this.#parts.at("purging:empty");
    const removed = await this.#step(row, "removed");
    await this.#parts.at("purging:removed");
    return removed;
  }

  /**
   * Brings the residence to a state. Gives the row back when that is done. A larger token on the shard, while main still has ours, was written under a
   * main that has since been restored: the row is claimed again above it, and runs again.
   */
  async #settle(row: DirectoryRow, state: "here" | "gone"): Promise<DirectoryRow | undefined> {
    const { residences } = this.#parts.shard(row.shard);
    const { kind, low, high, epoch, token } = row;
    const result: SettleResult = await residences.settle({ kind, low, high, epoch, state, token });
    return result.settled ? row : this.claim(row, result.token + 1n);
  }

  /** Writes the next state, if the row still is ours. */
  #step(row: DirectoryRow, state: DirectoryState): Promise<DirectoryRow | undefined> {
    const { control, directoryRows } = this.#parts;
    const next = { ...row, state };
    return control.transaction(async (transaction) =>
      (await directoryRows.update(transaction, next, row.token)) ? next : undefined,
    );
  }

  /** Keys that were removed before the range came stay removed: their points go to the range's shard before it does. */
  async #fenceTombstones(range: DirectoryRow): Promise<void> {
    const { directoryRows } = this.#parts;
    const { residences } = this.#parts.shard(range.shard);
    let after: KeyValue | undefined;
    for (;;) {
      const page = await directoryRows.tombstones(range.low, range.high, after, TOMBSTONES_PAGE);
      if (page.length > 0)
        await residences.insertMissing(
          page.map(({ kind, low, high, epoch, token }) => ({
            kind,
            low,
            high,
            epoch,
            token,
            state: "gone" as const,
          })),
        );
      if (page.length < TOMBSTONES_PAGE) return;
      after = page.at(-1)?.low;
    }
  }
}
