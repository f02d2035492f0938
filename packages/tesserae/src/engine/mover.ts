/** Writes that pass the guard: a mover's, and those that delete the rows of a removed key. */
import type { Connection, EngineDialect } from "./contract.ts";

/**
 * Runs `work` with the guard open for residences with `token`, inside the transaction that the connection has open. The residence must be locked, and
 * its token be the caller's.
 */
export async function asMover<T>(
  connection: Connection,
  dialect: EngineDialect,
  token: bigint,
  work: () => Promise<T>,
): Promise<T> {
  const { open, close } = dialect.passGuard(token);
  const run = async (statements: readonly string[]) => {
    for (const sql of statements) await connection.run({ sql, parameters: [], prepare: false });
  };
  await run(open);
  let result: T;
  try {
    result = await work();
  } catch (error) {
    // Where the transaction is lost already, what it opened is closed with it; the first error says more than this one's.
    await run(close).catch(() => undefined);
    throw error;
  }
  await run(close);
  return result;
}
