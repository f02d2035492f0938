/**
 * Runs as a process of its own beside `processes.test.ts`: `node another-process.ts <file> <task> <name> <count>`. Prints one JSON line when it is at the
 * point its task is about.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { sqlite } from "../../../src/engine/sqlite/engine.ts";

const [file, task, name, count] = process.argv.slice(2) as [string, string, string, string];
const database = sqlite({ path: file, synchronous: "normal" }).open(POOL_DEFAULTS);

const tell = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);

/** Longest time that this process's timers had to wait, in ms. */
async function longestPause<T>(work: () => Promise<T>): Promise<number> {
  let last = performance.now();
  let longest = 0;
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  await work();
  clearInterval(timer);
  return longest;
}

async function write(): Promise<void> {
  await database.run({
    sql: "create table if not exists counter (id INT primary key, value INTEGER) strict",
    parameters: [],
  });
  await database.run({
    sql: "create table if not exists log (who TEXT, number INTEGER) strict",
    parameters: [],
  });
  await database.run({ sql: "insert into counter values (1, 0) on conflict do nothing", parameters: [] });
  for (let i = 0; i < Number(count); i++) {
    await database.run({ sql: "insert into log values (?, ?)", parameters: [name, BigInt(i)] });
    const connection = await database.acquire();
    await connection.begin();
    const { rows } = await connection.run({ sql: "select value from counter where id = 1", parameters: [] });
    // Lets this process's other work, and other processes, come between the read and the write.
    if (i % 10 === 0) await sleep(1);
    await connection.run({
      sql: "update counter set value = ? where id = 1",
      parameters: [(rows[0]?.["value"] as bigint) + 1n],
    });
    await connection.commit();
    connection.release();
  }
}

/** A transaction that is left open until the process ends or is killed. */
async function hold(): Promise<void> {
  const connection = await database.acquire();
  await connection.begin();
  await connection.run({ sql: "insert into log values (?, 0)", parameters: [name] });
  tell({ holding: true });
  await sleep(Number(count));
  await connection.rollback();
  connection.release();
}

if (task === "write") tell({ longestPauseMs: await longestPause(write) });
else await hold();
await database.close();
