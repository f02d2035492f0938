/**
 * The pause and the cut-over. Everything that can be done before or after it is: what is left between the freeze and the arrival is the rest of the log,
 * one transaction in main and one at the target.
 *
 * Until the commit in main the source is the keys' shard, whatever happens, and thawing it is always right. From the commit on the target is, and the
 * only way is forward. Nobody freezes by the clock: a key that is frozen stays so until somebody has read in main which of the two it is.
 */
import { isTesseraeError } from "../base/errors.ts";
import type { ControlTransaction } from "../engine/control-store.ts";
import { catchUpOnce, clearLog, drainLog } from "./catch-up.ts";
import { takenOver } from "./move-rows.ts";
import { LOCK_WAIT_MS, MoveInterrupted, type MoveWork, patiently } from "./move-work.ts";
import { replicasHave, replicasKeepUp } from "./replica-pace.ts";

/** A round this short leaves little for the pause. */
const SHORT_ROUND_ENTRIES = 50;
/** Beside steady writers no round may ever be so short. After so many, one is taken that fits the pause's budget well. */
const PATIENT_ROUNDS = 20;
const BUDGET_SHARE = 2;
const ROUNDS_BEFORE_FREEZE_MAX = 1_000;

/** Rounds until one is short: what is left then is drained within the pause. */
export async function catchUp(work: MoveWork): Promise<void> {
  for (let round = 1; round <= ROUNDS_BEFORE_FREEZE_MAX; round++) {
    const begun = performance.now();
    const entries = await catchUpOnce(work);
    const tookMs = performance.now() - begun;
    await work.between();
    await work.at("catchUp:round");
    if (entries < SHORT_ROUND_ENTRIES) return;
    if (round > PATIENT_ROUNDS && tookMs < work.record.progress.settings.pauseBudgetMs / BUDGET_SHARE) return;
  }
}

/** `leaving` → `frozen`, the rest of the log, and the commit. Otherwise thawed, with what did not fit the pause's budget: the rest of the log, or the replicas. */
export async function cutOver(work: MoveWork): Promise<"done" | "changes" | "replicas"> {
  if (!(await replicasKeepUp(work))) return "replicas";
  await freeze(work);
  const frozenAt = performance.now();
  try {
    await work.at("freeze:frozen");
    const leftMs = () => work.record.progress.settings.pauseBudgetMs - (performance.now() - frozenAt);
    if (!(await drainLog(work, () => leftMs() > 0))) {
      await thaw(work);
      return "changes";
    }
    await work.at("freeze:drained");
    if (!(await replicasHave(work, leftMs()))) {
      await thaw(work);
      return "replicas";
    }
  } catch (error) {
    // Whoever took the move over decides about the freeze. Otherwise nothing was committed: writers need not wait for what comes next.
    if (!isTesseraeError(error, "MOVE_TAKEN_OVER")) await thaw(work).catch(() => undefined);
    throw error;
  }
  await work.at("commit:before");
  await commit(work);
  await work.at("commit:after");
  await openTarget(work);
  work.note({ pauseMs: Math.round((performance.now() - frozenAt) * 10) / 10 });
  await work.at("arrive:target");
  return "done";
}

/** Waits for the keys' writers, and holds up new ones. */
async function freeze(work: MoveWork): Promise<void> {
  const { source, record } = work;
  await patiently(work, source, () =>
    source.store.transaction(
      async (transaction) => {
        const rows = await source.residences.expect(
          transaction,
          record.members,
          record.token,
          ["leaving", "frozen"],
          {
            how: "alone",
            lockWaitMs: LOCK_WAIT_MS,
          },
        );
        if (rows.some(({ state }) => state === "leaving"))
          await source.residences.setState(transaction, record.members, "frozen");
      },
      { once: true },
    ),
  );
}

/** `frozen` → `leaving`: writers go on at the source, and what they do is logged as before. */
export async function thaw(work: MoveWork): Promise<void> {
  const { source, record } = work;
  await source.store.transaction(async (transaction) => {
    const rows = await source.residences.expect(
      transaction,
      record.members,
      record.token,
      ["leaving", "frozen"],
      {
        how: "alone",
      },
    );
    if (rows.some(({ state }) => state === "frozen"))
      await source.residences.setState(transaction, record.members, "leaving");
  });
  await work.at("freeze:thawed");
}

/** The point of no return: one transaction in main. */
async function commit(work: MoveWork): Promise<void> {
  const { control, moves, feed, federation, keys } = work.parts;
  const { record } = work;
  const body = async (transaction: ControlTransaction) => {
    const next = await moves.saveIn(transaction, record, {
      step: "arrive",
      progress: { ...record.progress, waitsFor: undefined },
    });
    // The row is locked: what was wanted before now counts, and what comes later is too late.
    const wanted = (await moves.find(record.id, transaction))?.wanted ?? "run";
    if (wanted !== "run") throw new MoveInterrupted(wanted);
    if (!(await moves.setShard(transaction, record))) throw takenOver(record.id);
    // Last, since from here on the feed's lock is held.
    await feed.append(
      transaction,
      ...record.members.map(({ kind, low }) => ({
        federation: federation.name,
        kind,
        low: keys.toText(low),
      })),
    );
    return next;
  };
  // Once: of an error nobody knows whether it was committed, and only who has raised the token first may read which. Until then nobody thaws.
  work.outcomeUnknown = true;
  try {
    work.changed(await control.transaction(body, { once: true }));
    work.outcomeUnknown = false;
  } catch (error) {
    // Raised by the body itself: the transaction was rolled back.
    if (error instanceof MoveInterrupted || isTesseraeError(error, "MOVE_TAKEN_OVER"))
      work.outcomeUnknown = false;
    throw error;
  }
  work.parts.forgetRoutes(record.members);
}

/** The target serves the keys. Runs again without harm. */
export async function openTarget(work: MoveWork): Promise<void> {
  const { target, record } = work;
  await target.store.transaction(async (transaction) => {
    const rows = await target.residences.expect(
      transaction,
      record.members,
      record.token,
      ["arriving", "here"],
      { how: "alone", gate: false },
    );
    if (rows.some(({ state }) => state === "arriving"))
      await target.residences.setState(transaction, record.members, "here", true);
  });
}

/** The source gives the keys up, and the directory's rows are free for whatever comes next. It may be down until now: the target serves already. */
export async function closeSource(work: MoveWork): Promise<void> {
  const { source, record, parts } = work;
  await source.store.transaction(async (transaction) => {
    const rows = await source.residences.fence(transaction, record.members, record.token, LOCK_WAIT_MS * 10);
    if (rows.some(({ state }) => state !== "gone"))
      await source.residences.setState(transaction, record.members, "gone", true);
  });
  await clearLog(work, "gone");
  await work.at("arrive:source");
  const { progress } = record;
  const merges = progress.shape?.kind === "merge";
  const next = await parts.control.transaction(async (transaction) => {
    if (!merges) await parts.moves.release(transaction, record);
    return parts.moves.saveIn(transaction, record, {
      step: merges ? "merge" : "purge",
      progress: {
        ...work.record.progress,
        purgeAfter: Date.now() + progress.settings.graceMs,
        purgeToken: record.token.toString(),
      },
    });
  });
  work.changed(next);
  await work.at("arrive:active");
}
