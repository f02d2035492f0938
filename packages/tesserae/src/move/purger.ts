/**
 * The source after a move: its rows go in small batches, under residences that are `gone` and have the token with which they went. A key that has come
 * back since, by a later move or its admission, has another token, and its rows are not this move's to delete. That is why a purge that is taken up puts no new
 * token on the residences, as every other step does: two that purge at once delete the same rows.
 */
import type { ResidenceRow } from "../directory/residence-rows.ts";
import type { ControlTransaction } from "../engine/control-store.ts";
import { asMover } from "../engine/mover.ts";
import { scopeOf } from "./member-condition.ts";
import type { Member } from "./move-record.ts";
import { LOCK_WAIT_MS, type MoveWork, patiently } from "./move-work.ts";
import { LargerToken } from "./mover-residences.ts";
import { heedReplicas, targetIsReplicated } from "./replica-pace.ts";

const ROWS_PER_BATCH = 1_000;

export async function purge(work: MoveWork): Promise<void> {
  const until = work.record.progress.purgeAfter ?? 0;
  await work.waitFor(
    "the time of grace, in which readers may still be at the source",
    () => until - Date.now(),
  );
  await targetIsReplicated(work);
  const { throttle } = work;
  const batchRows = Math.min(ROWS_PER_BATCH, throttle.chunkRowsMax);
  for (const table of work.parts.tables.toReversed()) {
    for (let deleted = batchRows; deleted === batchRows; ) {
      await heedReplicas(work, work.source);
      await work.waitFor(throttle.wait().why, () => throttle.wait().ms);
      deleted = await atSource(work, async (transaction, members) => {
        const slice = { table, scope: scopeOf(work.parts.federation.name, members) };
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
  const { source, record, parts } = work;
  const references = (await parts.uncheckedReferences(source)) ? "unchecked" : "checked";
  // Looked for without a lock: a key that has come back has writers, who are not to queue behind the purge of others.
  const seen = ownOf(work, await source.residences.find(record.members));
  if (seen.length === 0) return 0;
  return patiently(work, source, () =>
    source.store.transaction(
      async (transaction) => {
        const own = ownOf(
          work,
          await source.residences.lock(transaction, seen, { how: "alone", lockWaitMs: LOCK_WAIT_MS }),
        );
        return own.length === 0 ? 0 : body(transaction, own);
      },
      { references, once: true },
    ),
  );
}

/** The members whose residences, of those given, are as this move left them. */
function ownOf(work: MoveWork, rows: readonly ResidenceRow[]): readonly Member[] {
  const { keys } = work.parts;
  const own = new Set(
    rows
      .filter(({ state, token }) => state === "gone" && token === purgeToken(work))
      .map(({ low }) => keys.cacheKey(low)),
  );
  return work.record.members.filter(({ low }) => own.has(keys.cacheKey(low)));
}

const purgeToken = ({ record }: MoveWork): bigint => BigInt(record.progress.purgeToken ?? record.token);

/** A range's row would stand before later ranges with other ends; the shard's range token does what its own did. */
async function forgetRange(work: MoveWork): Promise<void> {
  const { source, record } = work;
  const [first] = record.members;
  if (first?.kind !== "r") return;
  const seen = ownOf(work, await source.residences.find(record.members));
  const forget = async (transaction: ControlTransaction) => {
    try {
      await source.residences.fenceRanges(transaction, record.token);
    } catch (error) {
      // Another range was made here since: the row is deleted all the same, if it still is this move's.
      if (!(error instanceof LargerToken)) throw error;
    }
    if (seen.length === 0) return;
    const rows = await source.residences.lock(transaction, seen, {
      how: "alone",
      lockWaitMs: LOCK_WAIT_MS,
    });
    if (ownOf(work, rows).length > 0) await source.residences.remove(transaction, seen);
  };
  await patiently(work, source, () => source.store.transaction(forget, { once: true }));
}
