/** Writes that pass the guard: a mover's, and those that delete the rows of a removed key. */
import type { Connection, EngineDialect } from "./contract.ts";
import { toEngineError } from "./engine-error.ts";

export interface MoverOptions {
  readonly dialect: EngineDialect;
  /** The token of the residences to write under. They must be locked, and the token be the caller's. */
  readonly token: bigint;
  /** Foreign keys may be broken until the work is done (`EngineDialect.deferReferences`). */
  readonly deferReferences?: boolean;
}

/** Runs `work` with the guard open, inside the transaction that the connection has open. */
export async function asMover<T>(
  connection: Connection,
  options: MoverOptions,
  work: () => Promise<T>,
): Promise<T> {
  const { dialect, token, deferReferences = false } = options;
  const guard = dialect.passGuard(token);
  const references = deferReferences ? dialect.deferReferences : { open: [], close: [] };
  const run = async (statements: readonly string[]) => {
    for (const sql of statements) {
      try {
        await connection.run({ sql, parameters: [], prepare: false });
      } catch (error) {
        throw toEngineError(error, dialect, { sql });
      }
    }
  };
  let result: T;
  try {
    await run([...guard.open, ...references.open]);
    result = await work();
  } catch (error) {
    // What is open in the transaction is closed with it, what is open in the session (MariaDB) by this; the first error says more than this one's.
    await run([...references.close, ...guard.close]).catch(() => undefined);
    throw error;
  }
  await run([...references.close, ...guard.close]);
  return result;
}
