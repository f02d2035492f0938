/**
 * The beginning of a transfer: the target's place is reserved, the source knows who works on it, and from `leave` on it logs what changes. All of it may
 * run again, by any process that has the move's token.
 */
import { TesseraeError } from "../base/errors.ts";
import type { DirectoryRow } from "../directory/directory-rows.ts";
import type { ResidenceRow } from "../directory/residence-rows.ts";
import type { ControlTransaction } from "../engine/control-store.ts";
import { asMover } from "../engine/mover.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import { emptySlice } from "./copier.ts";
import type { Member } from "./move-record.ts";
import { LOCK_WAIT_MS, type MoveWork, patiently } from "./move-work.ts";
import { LargerToken } from "./mover-residences.ts";
import { refuseOverlaps, sameEnd } from "./range-overlaps.ts";
import { scopeCondition } from "./scope-condition.ts";

/** Target: no residence, or a `gone` one → `arriving`. Source: still `here`, under the move's token. */
export async function claim(work: MoveWork): Promise<void> {
  const { source, record } = work;
  const [first] = record.members;
  if (first?.kind === "r") await claimRange(work, first);
  else await claimPoints(work);
  await work.at("claim:target");
  // What an earlier move of these keys left here, its purge unfinished, or one that turned back.
  for (const table of work.parts.tables.toReversed()) await emptySlice(work, { table, scope: work.scope });
  await patiently(work, source, () =>
    source.store.transaction(
      async (transaction) => {
        const rows = await source.residences.fence(transaction, record.members, record.token, LOCK_WAIT_MS);
        checkSource(work, rows);
      },
      { once: true },
    ),
  );
  await work.at("claim:source");
}

/** `here` → `leaving`: waits for the keys' writers; whoever comes later is logged. */
export async function leave(work: MoveWork): Promise<void> {
  const { source, record } = work;
  await patiently(work, source, () =>
    source.store.transaction(
      async (transaction) => {
        const rows = await source.residences.expect(
          transaction,
          record.members,
          record.token,
          ["here", "leaving"],
          {
            how: "alone",
            lockWaitMs: LOCK_WAIT_MS,
          },
        );
        await work.at("leave:locked");
        if (rows.some(({ state }) => state === "here"))
          await source.residences.setState(transaction, record.members, "leaving");
      },
      { once: true },
    ),
  );
  await work.at("leave:leaving");
}

async function claimPoints(work: MoveWork): Promise<void> {
  const { target, record } = work;
  const body = async (transaction: ControlTransaction) => {
    const rows = await target.residences.lock(transaction, record.members, { how: "alone" });
    for (const row of rows) checkTarget(work, row);
    const known = new Map(rows.map((row) => [work.parts.keys.cacheKey(row.low), row]));
    const isNew = (member: Member) => !known.has(work.parts.keys.cacheKey(member.low));
    const fresh = record.members.filter(isNew);
    if (fresh.length > 0 && (await target.residences.hasRanges(transaction)))
      for (const member of fresh)
        await target.residences.lockRangeAround(transaction, member.low, LOCK_WAIT_MS);
    const others = record.members.filter((member) => !isNew(member));
    await target.residences.overwritePoints(transaction, others, { state: "arriving", token: record.token });
    await target.residences.insert(
      transaction,
      fresh.map((member) => arriving(member, record.token)),
    );
  };
  // The range around a key may have writers, who are not to queue behind the mover.
  await patiently(work, target, () => target.store.transaction(body, { once: true }));
}

async function claimRange(work: MoveWork, member: Member): Promise<void> {
  const { target, record, parts } = work;
  await forEachPoint(work, member, async (page) => {
    await untilAtSource(work, page);
    await fencePoints(work, page);
  });
  await target.store.transaction(async (transaction) => {
    await target.residences.fenceRanges(transaction, record.token);
    await refuseOverlaps(parts, target, transaction, member);
    const [row] = await target.residences.lock(transaction, [member], { how: "alone" });
    if (row !== undefined) checkTarget(work, row);
    await target.residences.put(transaction, arriving(member, record.token));
  });
}

const POINTS_PAGE = 500;

/** Pages of the directory's points in the range. None comes into it while it moves. */
async function forEachPoint(
  work: MoveWork,
  range: Member,
  body: (page: readonly DirectoryRow[]) => Promise<void>,
): Promise<void> {
  let after: KeyValue | undefined;
  for (;;) {
    const page = await work.parts.directoryRows.pointsWithin(range.low, range.high, after, POINTS_PAGE);
    if (page.length > 0) await body(page);
    if (page.length < POINTS_PAGE) return;
    after = page.at(-1)?.low;
  }
}

const POLL_MS = 100;

/**
 * A key that is isolated, or removed, has its point in main first. Until the source has it as well, the key's rows are still the range's there, and they would
 * leave with it, or be neither's.
 */
async function untilAtSource(work: MoveWork, page: readonly DirectoryRow[]): Promise<void> {
  const { source, record, parts } = work;
  let missing = page.filter(({ shard }) => shard === record.source);
  while (missing.length > 0) {
    const there = new Set((await source.residences.find(missing)).map(({ low }) => parts.keys.cacheKey(low)));
    missing = missing.filter(({ low }) => !there.has(parts.keys.cacheKey(low)));
    const [first] = missing;
    if (first === undefined) return;
    const until = performance.now() + POLL_MS;
    await work.waitFor(
      `key ${parts.keys.show(first.low)} to be isolated or removed, as somebody has begun; fed.moves.resume() or fed.tenants.resume() finishes what was left`,
      () => until - performance.now(),
    );
  }
}

/** Keys of the range that live elsewhere, or were removed, get a `gone` point at the target before the range is there: a point wins over the range around it. */
async function fencePoints(work: MoveWork, page: readonly DirectoryRow[]): Promise<void> {
  const missing = goneAtTarget(work, page);
  if (missing.length === 0) return;
  await work.target.pointResidences.insertMissing(missing);
  await emptyGone(work, missing);
}

/**
 * On the way back. The points that a claim has written at the target stay, and leave their keys out of the range; so what they were to be emptied of goes here, where the claim had not
 * come to it.
 */
export async function emptyFencedPoints(work: MoveWork, range: Member): Promise<void> {
  await forEachPoint(work, range, (page) => emptyGone(work, goneAtTarget(work, page)));
}

/** The points among the directory's that the target has as gone while it has the range. */
function goneAtTarget({ record }: MoveWork, page: readonly DirectoryRow[]): ResidenceRow[] {
  return page
    .filter(({ shard, state }) => shard !== record.target || state === "removed")
    .map(({ low, epoch, token }) => ({ kind: "p", low, high: null, epoch, token, state: "gone" }));
}

const GONE_ROWS = 1_000;

/**
 * What an unfinished purge of the range left of keys that have a place of their own since. Their points leave them out of the range, so that no purge and no claim
 * of it would find these rows again.
 */
async function emptyGone(work: MoveWork, points: readonly ResidenceRow[]): Promise<void> {
  if (points.length === 0) return;
  const { target, parts } = work;
  const { dialect } = target.store;
  const references = (await parts.uncheckedReferences(target)) ? "unchecked" : "checked";
  for (const table of parts.tables.toReversed()) {
    const scope = { kind: "points" as const, keys: points.map(({ low }) => low) };
    const column = dialect.quote(table.keyColumn as string);
    const { sql, parameters } = scopeCondition({ end: () => target, parts, scope }, "target", column);
    const some = `select 1 as found from ${dialect.quote(table.name)} where ${sql} limit 1`;
    if ((await target.store.run(some, parameters)).rows.length === 0) continue;
    for (const { kind, low, high, epoch } of points) {
      for (let deleted = GONE_ROWS; deleted === GONE_ROWS; ) {
        deleted = await target.store.transaction(
          async (transaction) => {
            const member = { kind, low, high, epoch };
            const [row] = await target.residences.lock(transaction, [member], { how: "alone", gate: false });
            // Whoever brings the key here meanwhile empties its place by himself.
            if (row?.state !== "gone") return 0;
            const slice = { table, scope: { kind: "points" as const, keys: [low] } };
            return asMover(transaction.connection, { dialect, token: row.token }, () =>
              work.transfer.deleteSlice("target", transaction.connection, slice, GONE_ROWS),
            );
          },
          { references },
        );
      }
    }
  }
}

function arriving({ kind, low, high, epoch }: Member, token: bigint): ResidenceRow {
  return { kind, low, high, epoch, token, state: "arriving" };
}

/** Only what has gone, or was coming by an earlier try, may be written over. */
function checkTarget(work: MoveWork, row: ResidenceRow): void {
  if (row.token > work.record.token) throw new LargerToken(row.token);
  if (row.state === "gone" || row.state === "arriving") return;
  throw conflict(work, work.target.shard, row, `is ${row.state} there already`);
}

function checkSource(work: MoveWork, rows: readonly ResidenceRow[]): void {
  const { keys } = work.parts;
  const byKey = new Map(rows.map((row) => [keys.cacheKey(row.low), row]));
  for (const member of work.record.members) {
    const row = byKey.get(keys.cacheKey(member.low));
    const refuse = (what: string) => conflict(work, work.source.shard, member, what);
    if (row === undefined) throw refuse("has no residence there");
    if (row.state !== "here" || row.epoch !== member.epoch)
      throw refuse(`is ${row.state} there at epoch ${row.epoch}, and main says ${member.epoch}`);
    if (!sameEnd(keys, row.high, member.high)) throw refuse("begins a range that ends elsewhere");
  }
}

function conflict(work: MoveWork, shard: number, { low }: { low: KeyValue }, what: string): TesseraeError {
  const { keys, federation } = work.parts;
  return new TesseraeError(
    "RESIDENCE_CONFLICT",
    `Key ${keys.show(low)} cannot be moved from shard ${work.record.source} to shard ${work.record.target}: on shard ${shard} it ${what}. Main or the shard was restored from an older state: compare them before you go on.`,
    { cluster: "shards", shard, federation: federation.name, key: keys.toText(low) },
  );
}
