/** All rows in the order of an indexed column, as they come: by hand and by the library. Each gives the number of rows, once it has seen that they are in order. */
import { createPool, type PoolConnection } from "mysql2";
import pg from "pg";
import Cursor from "pg-cursor";
import { type DotsFederation, SHARDS } from "./dots.ts";

/** Reads so many rows and stops. Raises when they are not in order. */
export type StreamDots = (rowsMax?: number) => Promise<number>;

interface StreamedDot {
  readonly id: unknown;
  readonly user_id: unknown;
  readonly created: Date;
}

/** The rows of one shard: at once where there are some, else a promise of the next ones. Undefined at the end. */
interface DotSource {
  next(): StreamedDot | undefined | Promise<StreamedDot | undefined>;
  stop(): Promise<void>;
}

const STATEMENT = "select id, user_id, created from dots order by created";
/** Rows that wait in a MariaDB shard's stream, and in the library's. */
const ROWS_WAITING = 1000;
/** Rows that PostgreSQL's cursor is asked for at once; with 1,000 it is a tenth slower. */
const CURSOR_ROWS = 5000;

export interface HandStream {
  readonly read: StreamDots;
  close(): Promise<void>;
}

/** The shards' streams, merged by the three rows at their heads. */
export function streamByHand(engine: "mysql" | "postgres", urls: readonly string[]): HandStream {
  const shards = urls.map(engine === "mysql" ? mysqlShard : postgresShard);
  return {
    async read(rowsMax = Number.POSITIVE_INFINITY) {
      const sources = await Promise.all(shards.map((shard) => shard.open()));
      try {
        return await merge(sources, rowsMax);
      } finally {
        await Promise.all(sources.map((source) => source.stop()));
      }
    },
    async close() {
      await Promise.all(shards.map((shard) => shard.close()));
    },
  };
}

async function merge(sources: readonly DotSource[], rowsMax: number): Promise<number> {
  const heads = await Promise.all(sources.map((source) => source.next()));
  const order = new OrderCheck();
  while (order.rows < rowsMax) {
    let least = -1;
    let least_ms = Number.POSITIVE_INFINITY;
    for (let index = 0; index < SHARDS; index += 1) {
      const head = heads[index];
      if (head === undefined) continue;
      const ms = head.created.getTime();
      if (ms < least_ms) {
        least = index;
        least_ms = ms;
      }
    }
    if (least === -1) break;
    order.see(heads[least] as StreamedDot);
    const next = (sources[least] as DotSource).next();
    // Awaiting what is there already would cost as much as the row.
    heads[least] = next instanceof Promise ? await next : next;
  }
  return order.rows;
}

class OrderCheck {
  rows = 0;
  #last_ms = Number.NEGATIVE_INFINITY;

  see({ created }: StreamedDot): void {
    const ms = created.getTime();
    if (ms < this.#last_ms) throw new Error(`Row ${this.rows} is not in order.`);
    this.#last_ms = ms;
    this.rows += 1;
  }
}

interface StreamedShard {
  open(): Promise<DotSource>;
  close(): Promise<void>;
}

function mysqlShard(url: string): StreamedShard {
  const pool = createPool({ uri: url, timezone: "Z" });
  return {
    async open() {
      const connection = await new Promise<PoolConnection>((resolve, reject) =>
        pool.getConnection((error, got) => (error === null ? resolve(got) : reject(error))),
      );
      const stream = connection.query(STATEMENT).stream({ highWaterMark: ROWS_WAITING });
      let failure: Error | undefined;
      let wake = () => {};
      for (const event of ["readable", "end"]) stream.on(event, () => wake());
      stream.on("error", (error) => {
        failure = error;
        wake();
      });
      const wait = async (): Promise<StreamedDot | undefined> => {
        for (;;) {
          if (failure !== undefined) throw failure;
          const row = stream.read() as StreamedDot | null;
          if (row !== null) return row;
          if (stream.readableEnded) return undefined;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      };
      return {
        next: () => (stream.read() as StreamedDot | null) ?? wait(),
        async stop() {
          if (stream.readableEnded) connection.release();
          else connection.destroy();
        },
      };
    },
    close: () => pool.promise().end(),
  };
}

function postgresShard(url: string): StreamedShard {
  const pool = new pg.Pool({ connectionString: url });
  return {
    async open() {
      const client = await pool.connect();
      const cursor = client.query(new Cursor<StreamedDot>(STATEMENT));
      // The next batch is on its way while this one is read.
      let coming = cursor.read(CURSOR_ROWS);
      let batch: StreamedDot[] = [];
      let place = 0;
      const wait = async () => {
        batch = await coming;
        place = 0;
        if (batch.length > 0) coming = cursor.read(CURSOR_ROWS);
        return batch[place++];
      };
      return {
        next: () => (place < batch.length ? batch[place++] : wait()),
        async stop() {
          await coming.catch(() => {});
          await cursor.close();
          client.release();
        },
      };
    },
    close: () => pool.end(),
  };
}

/** The same by the library. */
export function streamEverywhere(fed: DotsFederation): StreamDots {
  return async (rowsMax = Number.POSITIVE_INFINITY) => {
    const order = new OrderCheck();
    const rows = fed.everywhere
      .selectFrom("dots")
      .select(["id", "user_id", "created"])
      .orderBy("created")
      .stream(ROWS_WAITING);
    for await (const row of rows) {
      order.see(row);
      if (order.rows >= rowsMax) break;
    }
    return order.rows;
  };
}
