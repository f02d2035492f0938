/**
 * The way back from every step before the cut-over: the source serves as before, with an empty log, and the target is clean. Points stay at the target as `gone`,
 * with the move's token, also where nothing had arrived: it stops a mover that wakes up late. A range's row goes, and the shard's range token stops it.
 */
import type { ResidenceRow } from "../directory/residence-rows.ts";
import type { ResidenceState } from "../engine/control-tables.ts";
import { asMover } from "../engine/mover.ts";
import { clearLog } from "./catch-up.ts";
import { emptyFencedPoints } from "./claim.ts";
import type { MoveRecord } from "./move-record.ts";
import { LOCK_WAIT_MS, type MoveWork, patiently } from "./move-work.ts";
import { finishShape } from "./shape.ts";

const ROWS_PER_BATCH = 5_000;

export async function turnBack(work: MoveWork): Promise<void> {
  await work.at("abort:begun");
  await finishShape(work);
  await reopenSource(work);
  await work.at("abort:thawed");
  await clearLog(work, "here");
  await work.at("abort:cleaned");
  await cleanTarget(work);
  await work.at("abort:target");
  const { parts, record } = work;
  const ended = await parts.control.transaction(async (transaction) => {
    await parts.moves.release(transaction, record);
    return parts.moves.saveIn(transaction, record, { step: "aborted", finished: true });
  });
  work.changed(ended);
  await work.at("aborted");
}

/** Any state before the cut-over → `here`. */
async function reopenSource(work: MoveWork): Promise<void> {
  const { source, record } = work;
  await patiently(work, source, () =>
    source.store.transaction(
      async (transaction) => {
        const rows = await source.residences.fence(transaction, record.members, record.token, LOCK_WAIT_MS);
        if (rows.some(({ state }) => state === "leaving" || state === "frozen"))
          await source.residences.setState(transaction, record.members, "here");
      },
      { once: true },
    ),
  );
}

async function cleanTarget(work: MoveWork): Promise<void> {
  const { target, record, parts } = work;
  const [first] = record.members;
  const isRange = first?.kind === "r";
  if (isRange) {
    // Also where nothing has arrived yet: a mover that wakes up must not begin it now.
    await target.store.transaction((transaction) => target.residences.fenceRanges(transaction, record.token));
    await emptyFencedPoints(work, first);
  } else
    await target.pointResidences.insertMissing(
      record.members.map((member) => ({ ...member, state: "gone" as const, token: record.token })),
    );
  const present = await target.residences.find(record.members);
  const own = record.members.filter((member) =>
    present.some((row) => parts.keys.compare(row.low, member.low) === 0 && isToClean(record, row)),
  );
  if (own.length === 0) return;
  const scope = isRange ? work.scope : { kind: "points" as const, keys: own.map(({ low }) => low) };
  const references = (await parts.uncheckedReferences(target)) ? "unchecked" : "checked";
  const underFence = <T>(
    body: (transaction: Parameters<Parameters<typeof target.store.transaction>[0]>[0]) => Promise<T>,
  ) =>
    target.store.transaction(
      async (transaction) => {
        await target.residences.fence(transaction, own, record.token, LOCK_WAIT_MS * 10);
        return body(transaction);
      },
      { references },
    );
  for (const table of parts.tables.toReversed()) {
    for (let deleted = ROWS_PER_BATCH; deleted === ROWS_PER_BATCH; ) {
      deleted = await underFence(({ connection }) =>
        asMover(connection, { dialect: target.store.dialect, token: record.token }, () =>
          work.transfer.deleteSlice("target", connection, { table, scope }, ROWS_PER_BATCH),
        ),
      );
    }
  }
  const gone: ResidenceState = "gone";
  await underFence(async (transaction) => {
    if (isRange) await target.residences.remove(transaction, own);
    else await target.residences.setState(transaction, own, gone);
  });
}

/**
 * What belongs to a later move is not this one's to clean. What an earlier one left is, once this move's token is there: the earlier one's purge finds nothing of
 * its own any more. A point gets the token here; a range may have one of this move's since it was taken up in `claim`.
 */
function isToClean({ id, token }: MoveRecord, row: ResidenceRow): boolean {
  if (row.token > token) return false;
  return row.state === "arriving" || (row.state === "gone" && (row.kind === "p" || row.token >= id));
}
