/** Snapshots of several shards, open at the same time. A shard that cannot be reached is in them as one that fails when it is asked. */
import type { Connection, EngineResult, RawRow } from "../../engine/contract.ts";
import { residenceTableName } from "../../engine/control-tables.ts";
import type { Target } from "../../session/target.ts";

export interface OpenSnapshot {
  readonly shard: number;
  readonly target: Target;
  readonly connection: Connection;
  end(broken: boolean): Promise<void>;
}

export interface SnapshotOptions {
  readonly federation: string;
  readonly signal: AbortSignal;
  /** Called before and after a shard's snapshot is taken. */
  at(point: "snapshot" | "opened", shard: number): void | Promise<void>;
}

/** The connections are taken one after the other, in the order of the shards' numbers: whoever waits for one holds none that comes behind it. */
export async function openSnapshots(
  shards: ReadonlyMap<number, Target>,
  options: SnapshotOptions,
): Promise<readonly OpenSnapshot[]> {
  const taken: { shard: number; target: Target; connection: Connection }[] = [];
  for (const [shard, target] of [...shards].sort(([a], [b]) => a - b))
    taken.push({ shard, target, connection: await take(target, options.signal) });
  return Promise.all(
    taken.map(async ({ shard, target, connection }) => {
      const opened = await begin(shard, target, connection, options);
      return { shard, target, connection: opened, end: (broken) => end(opened, broken) };
    }),
  );
}

async function take(target: Target, signal: AbortSignal): Promise<Connection> {
  try {
    if (!target.readiness.ready) await target.readiness.wait();
    return await target.database.acquire({ mode: "read", signal });
  } catch (error) {
    return new UnreachableConnection(error);
  }
}

/** The first read of a transaction is what takes the snapshot, on every engine. */
async function begin(
  shard: number,
  { kit }: Target,
  connection: Connection,
  { federation, at }: SnapshotOptions,
): Promise<Connection> {
  try {
    await at("snapshot", shard);
    await connection.begin({ isolation: "repeatable read", readOnly: true, slowReader: true });
    const sql = `select kind from ${kit.dialect.quote(residenceTableName(federation))} limit 1`;
    await connection.run({ sql, parameters: [], readOnly: true });
    await at("opened", shard);
    return connection;
  } catch (error) {
    connection.release(true);
    return new UnreachableConnection(error);
  }
}

async function end(connection: Connection, broken: boolean): Promise<void> {
  if (broken) return connection.release(true);
  try {
    await connection.rollback();
    connection.release();
  } catch {
    connection.release(true);
  }
}

/** Stands for the connection of a shard that could not be reached, and says why. */
class UnreachableConnection implements Connection {
  readonly #error: unknown;

  constructor(error: unknown) {
    this.#error = error;
  }

  #refuse(): Promise<never> {
    return Promise.reject(this.#error);
  }

  run(): Promise<EngineResult> {
    return this.#refuse();
  }

  // biome-ignore lint/correctness/useYield: it fails before its first chunk.
  async *stream(): AsyncGenerator<RawRow[], void, undefined> {
    throw this.#error;
  }

  begin(): Promise<void> {
    return this.#refuse();
  }

  commit(): Promise<void> {
    return this.#refuse();
  }

  async rollback(): Promise<void> {}

  savepoint(): Promise<void> {
    return this.#refuse();
  }

  rollbackToSavepoint(): Promise<void> {
    return this.#refuse();
  }

  releaseSavepoint(): Promise<void> {
    return this.#refuse();
  }

  release(): void {}
}
