/**
 * A move, from its first step to its last. `runSteps` is the protocol; `driveMove` is what keeps it going: through lost connections and dead servers, past whoever
 * wants it paused or aborted, and back when it cannot go on.
 *
 *     shape ─▶ claim ─▶ leave ─▶ copy ─▶ catchUp ─▶ verify ─▶ freeze ═▶ arrive ─▶ (merge) ─▶ purge ─▶ done
 *       └────────┴────────┴────────┴────────┴─────────┴─────────┘
 *                              abort ─▶ aborted                      ═▶ is the cut-over: from there only forward
 *
 * Each step may run any number of times, in any process that holds the move's token. The only code that changes the step is here and where a step ends in
 * a transaction of main that does more: `shape`, `merge`, the cut-over, the arrival, the end of the way back.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { QUIET_MS } from "../fan-out/steady/moves-seen.ts";
import { claim, leave } from "./claim.ts";
import { copyRows } from "./copier.ts";
import { catchUp, closeSource, cutOver, openTarget, thaw } from "./cut-over.ts";
import { canTurnBack, type MoveFailure, type MoveRecord } from "./move-record.ts";
import { takenOver } from "./move-rows.ts";
import { LOCK_WAIT_MS, MoveInterrupted, type MoveParts, MoveWork, patiently } from "./move-work.ts";
import { LargerToken } from "./mover-residences.ts";
import { purge } from "./purger.ts";
import { checkReferences } from "./references-at-target.ts";
import { IF_ONE_HAS_STOPPED } from "./replica-pace.ts";
import { merge, shape } from "./shape.ts";
import { turnBack } from "./turn-back.ts";
import { verifyRows } from "./verifier.ts";

/** Brings the move to rest: `done` or `aborted`. */
async function runSteps(work: MoveWork): Promise<void> {
  for (;;) {
    switch (work.record.step) {
      case "shape":
        await shape(work);
        break;
      case "claim":
        await claim(work);
        await work.advance("leave");
        break;
      case "leave":
        await leave(work);
        await work.advance("copy");
        break;
      case "copy":
        await untilReadersKnow(work);
        await copyRows(work);
        await work.at("copy:done");
        await work.advance("catchUp");
        break;
      case "catchUp":
        await catchUp(work);
        await work.advance("verify");
        break;
      case "verify":
        await verifyRows(work);
        await checkReferences(work);
        await work.at("verify:done");
        await work.advance("freeze");
        break;
      case "freeze":
        await catchUp(work);
        await waitForCalm(work, await cutOver(work));
        break;
      case "arrive":
        await openTarget(work);
        await closeSource(work);
        break;
      case "merge":
        await merge(work);
        break;
      case "purge":
        await purge(work);
        await work.save({ step: "done", finished: true });
        await work.at("done");
        break;
      case "abort":
        await turnBack(work);
        break;
      case "done":
      case "aborted":
        return;
    }
  }
}

/** Who reads all shards looks for moves in main, and may rely on a look for this long: until then no row comes to the target. */
async function untilReadersKnow(work: MoveWork): Promise<void> {
  const until = work.takenUpMs + QUIET_MS;
  await work.waitFor(undefined, () => until - performance.now());
}

const CALM_MS = 500;

/** After a cut-over that did not fit the pause. */
async function waitForCalm(work: MoveWork, tried: Awaited<ReturnType<typeof cutOver>>): Promise<void> {
  if (tried === "done") return;
  const why =
    tried === "changes"
      ? "a moment in which the rest of the changes fits the pause"
      : `a moment in which the replicas of both shards catch up within the pause; ${IF_ONE_HAS_STOPPED}`;
  const until = performance.now() + CALM_MS;
  await work.waitFor(why, () => until - performance.now());
}

export interface DriveOptions {
  readonly signal?: AbortSignal | undefined;
  onChange?(record: MoveRecord): void;
  /** The record was just taken over: its token is in main alone, and what the runner before was doing is unknown. */
  readonly taken?: boolean;
  /** Lost connections and dead servers are borne for so long without any progress. */
  readonly retryMs: number;
  readonly runner: string;
}

const RETRY_PAUSE_MS = 50;
const RETRY_PAUSE_MS_MAX = 2_000;
const HEARTBEAT_MS = 2_000;

/**
 * Runs a move to its end. MOVE_PAUSED, MOVE_ABORTED, MOVE_TAKEN_OVER; the caller's own reason when its signal ended the call; what turned the move back, or
 * the error that did not go away.
 */
export async function driveMove(
  parts: MoveParts,
  record: MoveRecord,
  options: DriveOptions,
): Promise<MoveRecord> {
  const drive = new Drive(parts, record, options);
  const heartbeat = setInterval(() => void drive.beat(), HEARTBEAT_MS).unref();
  try {
    return await drive.run();
  } finally {
    clearInterval(heartbeat);
  }
}

class Drive {
  readonly #parts: MoveParts;
  readonly #options: DriveOptions;
  #work: MoveWork;
  #fenced: boolean;
  /** That this process knows the shards' tables was seen. */
  #known = false;
  /** Why the move turned back: what the caller hears in the end. */
  #reason: TesseraeError | undefined;
  #progressAt = performance.now();
  #pauseMs = RETRY_PAUSE_MS;

  constructor(parts: MoveParts, record: MoveRecord, options: DriveOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#fenced = options.taken !== true;
    this.#work = this.#begin(record);
  }

  async run(): Promise<MoveRecord> {
    if (this.#options.taken === true) await this.#refuseUnknownTables();
    for (;;) {
      try {
        if (!this.#known) await this.#checkTables();
        if (!this.#fenced) {
          await fenceEnds(this.#work);
          this.#fenced = true;
          await this.#work.obey();
        }
        await runSteps(this.#work);
        break;
      } catch (error) {
        await this.#recover(error);
      }
    }
    const { record } = this.#work;
    if (record.step === "aborted") throw this.#reason ?? aborted(record);
    return record;
  }

  /** After the move was written: a change of the schema that began before it shows now, and one that begins later sees the move. */
  async #checkTables(): Promise<void> {
    const { step, source, target } = this.#work.record;
    if (canTurnBack(step) && source !== target) await this.#parts.checkSchema(source, target);
    this.#known = true;
  }

  /** What another process began with a newer schema is for such a process to go on with, and not for this one to turn back. */
  async #refuseUnknownTables(): Promise<void> {
    try {
      await this.#checkTables();
    } catch (error) {
      if (!isTesseraeError(error, "MOVE_SCHEMA")) return;
      await this.#letGo(error);
      throw error;
    }
  }

  /** A sign of life while one piece of work takes long. A failure shows at the next piece. */
  async beat(): Promise<void> {
    await this.#parts.moves.touch(this.#work.record).catch(() => undefined);
  }

  #begin(record: MoveRecord): MoveWork {
    return new MoveWork(this.#parts, record, {
      signal: this.#options.signal,
      onChange: (changed) => {
        this.#progressAt = performance.now();
        this.#pauseMs = RETRY_PAUSE_MS;
        this.#options.onChange?.(changed);
      },
    });
  }

  /** Makes the move fit to run again, or throws what the caller is to hear. */
  async #recover(error: unknown): Promise<void> {
    if (error instanceof MoveInterrupted) return this.#interrupted(error);
    if (error instanceof LargerToken) return this.#retake(error.token);
    if (isTesseraeError(error, "MOVE_TAKEN_OVER")) throw error;
    const { record } = this.#work;
    const failure = error instanceof TesseraeError ? error : undefined;
    // Of a cut-over whose answer is lost nothing may be believed before main was asked under a new token, whatever the error.
    if (this.#work.outcomeUnknown) return this.#retake(0n, failure);
    if (failure?.retryable === true && (await this.#hasPatience())) return this.#retake(0n, failure);
    if (failure !== undefined && !failure.retryable && canTurnBack(record.step)) {
      this.#reason = failure;
      await this.#work.save({ step: "abort", error: { code: failure.code, message: failure.message } });
      return;
    }
    await this.#letGo(failure);
    throw error;
  }

  async #interrupted({ why }: MoveInterrupted): Promise<void> {
    const { record } = this.#work;
    if (why === "abort" && canTurnBack(record.step)) {
      await this.#work.save({ step: "abort" });
      return;
    }
    if (why === "abort") {
      // It came too late: the keys live at the target.
      await this.#parts.moves.want(record.id, "run");
      return;
    }
    await this.#letGo(undefined);
    if (why === "pause") throw paused(record);
    throw this.#options.signal?.reason ?? new Error("the call was ended");
  }

  /** True after a pause, as long as there is hope. */
  async #hasPatience(): Promise<boolean> {
    if (performance.now() - this.#progressAt > this.#options.retryMs) return false;
    await sleep(this.#pauseMs * (0.5 + Math.random()), undefined, { signal: this.#options.signal }).catch(
      () => undefined,
    );
    this.#pauseMs = Math.min(RETRY_PAUSE_MS_MAX, this.#pauseMs * 2);
    return true;
  }

  /** After an error of unknown outcome: first a larger token in main, under its lock; then what is there is read, and nobody can change it any more. */
  async #retake(atLeast: bigint, failure?: TesseraeError): Promise<void> {
    const { record } = this.#work;
    const waitsFor = failure === undefined ? undefined : `${failure.code}: ${failure.message}`;
    for (let tries = 1; ; tries++) {
      // Once is tried all the same, lest writers wait for a move that was left with an unknown outcome.
      if (this.#options.signal?.aborted && tries > 1) return this.#interrupted(new MoveInterrupted("left"));
      try {
        const taken = await this.#parts.moves.take(record.id, this.#options.runner, {
          seen: record.token,
          atLeast,
          waitsFor,
        });
        if (taken === undefined) return await this.#settled(record);
        this.#work = this.#begin(taken);
        this.#fenced = false;
        return;
      } catch (error) {
        const retryable = error instanceof TesseraeError && error.retryable;
        if (retryable && (await this.#hasPatience())) continue;
        await this.#letGo(error instanceof TesseraeError ? error : undefined);
        throw error;
      }
    }
  }

  /** It has another token than ours: another process took it, or our own last take was committed and its answer lost. */
  async #settled(record: MoveRecord): Promise<void> {
    const now = await this.#parts.moves.find(record.id);
    if (now?.finished !== undefined && now.token === record.token) {
      this.#work = this.#begin(now);
      return;
    }
    if (now === undefined || now.finished !== undefined || now.runner !== this.#options.runner)
      throw takenOver(record.id);
    const taken = await this.#parts.moves.take(record.id, this.#options.runner, { seen: now.token });
    if (taken === undefined) throw takenOver(record.id);
    this.#work = this.#begin(taken);
    this.#fenced = false;
  }

  /** Nobody runs the move from now on. Writers are not left waiting for it, unless nobody can tell whether the keys live at the target already. */
  async #letGo(failure: MoveFailure | undefined): Promise<void> {
    const { record, outcomeUnknown } = this.#work;
    let said = failure;
    let step = record.step;
    if (record.step === "freeze" && !outcomeUnknown) {
      try {
        // A token that was just taken is not on the shards yet; to put it there is to thaw.
        await (this.#fenced ? thaw(this.#work) : fenceEnds(this.#work));
        // Not frozen any more: who finds the step `freeze` without a runner may believe that the keys are.
        step = "verify";
      } catch (error) {
        said ??= error instanceof TesseraeError ? error : undefined;
      }
    }
    const error = said === undefined ? undefined : { code: said.code, message: said.message };
    await this.#parts.moves.leave(record, { step, error }).catch(() => undefined);
  }
}

/**
 * Puts a new token on both ends, so that the runner before can write nothing more; a freeze that it left is lifted. The source comes first: its writers
 * wait. After the cut-over it may be down, and its own step puts the token there.
 */
async function fenceEnds(work: MoveWork): Promise<void> {
  const { source, target, record } = work;
  const put = (end: typeof source) =>
    patiently(work, end, () =>
      end.store.transaction(
        (transaction) => end.residences.fence(transaction, record.members, record.token, LOCK_WAIT_MS),
        { once: true },
      ),
    );
  if (record.step === "shape" || record.step === "purge") return;
  if (canTurnBack(record.step)) await put(source);
  if (record.step === "freeze") await thaw(work);
  if (record.step !== "abort") await put(target);
}

function paused(record: MoveRecord): TesseraeError {
  return new TesseraeError(
    "MOVE_PAUSED",
    `Move ${record.id} was paused in step ${record.step}. fed.moves.resume(${record.id}n) goes on with it.`,
    { operation: "moves", federation: record.federation },
  );
}

function aborted(record: MoveRecord): TesseraeError {
  return new TesseraeError(
    "MOVE_ABORTED",
    `Move ${record.id} was aborted: what it was to move is served by shard ${record.source}, as before.`,
    { operation: "moves", federation: record.federation, shard: record.source },
  );
}
