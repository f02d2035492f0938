/** Transactions of the mover at the target: under the residences' locks, past the guard, without foreign keys. */
import { isTesseraeError } from "../base/errors.ts";
import type { Connection } from "../engine/contract.ts";
import { asMover } from "../engine/mover.ts";
import type { MoveWork } from "./move-work.ts";

/** A transaction of the mover itself may be in the way, whose connection was lost: until its server has noticed. */
const TARGET_LOCK_WAIT_MS = 5_000;
/** How often work is done again whose transaction the target has rolled back. */
const ROLLED_BACK_MAX = 10;

export async function atTarget<T>(
  work: MoveWork,
  body: (connection: Connection) => Promise<T>,
  { once = false }: { readonly once?: boolean } = {},
): Promise<T> {
  const { target, record, parts } = work;
  const references = (await parts.uncheckedReferences(target)) ? "unchecked" : "checked";
  return target.store.transaction(
    async (transaction) => {
      await target.residences.expect(transaction, record.members, record.token, ["arriving"], {
        how: "alone",
        gate: false,
        lockWaitMs: TARGET_LOCK_WAIT_MS,
      });
      return asMover(transaction.connection, { dialect: target.store.dialect, token: record.token }, () =>
        body(transaction.connection),
      );
    },
    { references, once },
  );
}

/**
 * A transaction at the target that reads from the source as it goes; in a `snapshot` all that is read was there at one moment. It is begun again when the target
 * rolled it back. A connection that is lost, at either end, is for the whole move to begin anew: what was committed of the work is done again then.
 */
export async function acrossBoth<T>(
  work: MoveWork,
  body: (source: Connection, target: Connection) => Promise<T>,
  options: { readonly snapshot?: boolean } = {},
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work.reading(
        "source",
        (source) => atTarget(work, (target) => body(source, target), { once: true }),
        options,
      );
    } catch (error) {
      if (!isRolledBack(error) || tries >= ROLLED_BACK_MAX) throw error;
    }
  }
}

const isRolledBack = (error: unknown): boolean =>
  isTesseraeError(error, "DEADLOCK") ||
  isTesseraeError(error, "LOCK_TIMEOUT") ||
  isTesseraeError(error, "SERIALIZATION");
