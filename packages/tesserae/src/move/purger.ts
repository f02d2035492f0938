/**
 * The source after a move: its rows go in small batches, under residences that are `gone` and have the token with which they went. A key that has come
 * back since, by a later move or its admission, has another token, and its rows are not this move's to delete. That is why a purge that is taken up puts no new
 * token on the residences, as every other step does: two that purge at once delete the same rows.
 */
import type { ControlTransaction } from "../engine/control-store.ts";
import { asMover } from "../engine/mover.ts";
import type { KeyScope } from "../engine/row-transfer.ts";
import type { Member } from "./move-record.ts";
import type { MoveWork } from "./move-work.ts";
import { LargerToken } from "./mover-residences.ts";

const ROWS_PER_BATCH = 1_000;

export async function purge(work: MoveWork): Promise<void> {
  const until = work.record.progress.purgeAfter ?? 0;
  await work.waitFor(
    "the time of grace, in which readers may still be at the source",
    () => until - Date.now(),
  );
  const { throttle } = work;
  const batchRows = Math.min(ROWS_PER_BATCH, throttle.chunkRowsMax);
  for (const table of work.parts.tables.toReversed()) {
    for (let deleted = batchRows; deleted === batchRows; ) {
      await work.waitFor(throttle.wait().why, () => throttle.wait().ms);
      deleted = await atSource(work, async (transaction, members) => {
        const slice = { table, scope: scopeOf(work, members) };
        return asMover(
          transaction.connection,
          { dialect: work.source.store.dialect, token: purgeToken(work) },
          () => work.transfer.deleteSlice("source", transaction.connection, slice, batchRows),
        );
      });
      throttle.spend(deleted);
      await work.between();
      await work.at("purge:batch");
    }
  }
  await forgetRange(work);
  await work.at("purge:empty");
}

/** A transaction under the residences that still are the move's; 0 when there are none. */
async function atSource(
  work: MoveWork,
  body: (transaction: ControlTransaction, members: readonly Member[]) => Promise<number>,
): Promise<number> {
  const { source, parts } = work;
  const references = (await parts.uncheckedReferences(source)) ? "unchecked" : "checked";
  return source.store.transaction(
    async (transaction) => {
      const own = await ownMembers(work, transaction);
      return own.length === 0 ? 0 : body(transaction, own);
    },
    { references },
  );
}

async function ownMembers(work: MoveWork, transaction: ControlTransaction): Promise<readonly Member[]> {
  const { source, record, parts } = work;
  const rows = await source.residences.lock(transaction, record.members, { how: "alone" });
  const own = new Set(
    rows
      .filter(({ state, token }) => state === "gone" && token === purgeToken(work))
      .map(({ low }) => parts.keys.cacheKey(low)),
  );
  return record.members.filter(({ low }) => own.has(parts.keys.cacheKey(low)));
}

const purgeToken = ({ record }: MoveWork): bigint => BigInt(record.progress.purgeToken ?? record.token);

function scopeOf(work: MoveWork, members: readonly Member[]): KeyScope {
  return members[0]?.kind === "r" ? work.scope : { kind: "points", keys: members.map(({ low }) => low) };
}

/** A range's row would stand before later ranges with other ends; the shard's range token does what its own did. */
async function forgetRange(work: MoveWork): Promise<void> {
  const { source, record } = work;
  const [first] = record.members;
  if (first?.kind !== "r") return;
  await source.store.transaction(async (transaction) => {
    try {
      await source.residences.fenceRanges(transaction, record.token);
    } catch (error) {
      // Another range was made here since: the row is deleted all the same, if it still is this move's.
      if (!(error instanceof LargerToken)) throw error;
    }
    if ((await ownMembers(work, transaction)).length > 0)
      await source.residences.remove(transaction, record.members);
  });
}
