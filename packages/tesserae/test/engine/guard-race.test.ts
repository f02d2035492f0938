/**
 * Freezes racing writers: after a freeze has been committed, no write of the key that it froze becomes visible, and a freeze waits for the
 * writers it finds. The freezer is plain SQL, as the mover's will be.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { forEachEngine, type TestEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import type { Connection, IsolationLevel } from "../../src/engine/contract.ts";
import { GuardedDatabase } from "./guarded-database.ts";

const ISOLATIONS: readonly IsolationLevel[] = ["read committed", "repeatable read"];
const KEYS = [1n, 2n, 3n];
const WRITERS = 6;
const ROUNDS_MAX = 60;
const INSERTS = 3000;

/** What may end a writer's transaction in the race; anything else fails the test. */
const EXPECTED = new Set(["GUARD_REFUSED", "SERIALIZATION", "DEADLOCK", "LOCK_TIMEOUT"]);

class Race {
  readonly #guarded: GuardedDatabase;
  readonly #isolation: IsolationLevel;
  #nextId = 1n;
  readonly acknowledged = new Set<bigint>();
  readonly outcomes = new Map<string, number>();
  /** Rows that a freeze found, and that were more afterwards. */
  leaks = 0;
  frozen = 0;

  constructor(guarded: GuardedDatabase, isolation: IsolationLevel) {
    this.#guarded = guarded;
    this.#isolation = isolation;
  }

  /** Short transactions of one to three rows of one key or two, some behind a savepoint that is taken back. */
  async write(connection: Connection, n: number): Promise<void> {
    const ids: bigint[] = [];
    const insert = async (key: bigint) => {
      const id = this.#nextId++;
      await this.#guarded.insert("users", key, id, connection);
      return id;
    };
    const key = KEYS[n % KEYS.length] as bigint;
    try {
      await connection.begin({ isolation: this.#isolation });
      if (n % 5 === 0) {
        // The lock that this takes is given back, or not, by the engine; the next insert must ask again if it was.
        await connection.savepoint("s");
        await insert(key);
        await connection.rollbackToSavepoint("s");
        await sleep(n % 3);
      }
      ids.push(await insert(key));
      if (n % 3 === 0) await sleep(1);
      if (n % 2 === 0) ids.push(await insert(key));
      if (n % 7 === 0) ids.push(await insert(KEYS[(n + 1) % KEYS.length] as bigint));
      await connection.commit();
      for (const id of ids) this.acknowledged.add(id);
      this.#count("committed");
    } catch (error) {
      await connection.rollback();
      const { code, guard } = this.#guarded.open.engine.dialect.classify(error);
      if (!EXPECTED.has(code)) throw error;
      this.#count(guard?.reason ?? code);
    }
  }

  #count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }

  /** Freezes a key, counts its rows twice with time between, and thaws it. */
  async freeze(n: number): Promise<void> {
    const key = KEYS[n % KEYS.length] as bigint;
    try {
      await this.#guarded.setResidence("users", { low: key, state: "frozen" });
    } catch (error) {
      if (!EXPECTED.has(this.#guarded.open.engine.dialect.classify(error).code)) throw error;
      return;
    }
    this.frozen += 1;
    const before = await this.#rows(key);
    await sleep(n % 4);
    if ((await this.#rows(key)) !== before) this.leaks += 1;
    await this.#guarded.setResidence("users", { low: key, state: n % 2 === 0 ? "here" : "leaving" });
  }

  async #rows(key: bigint): Promise<string> {
    const [count] = await this.#guarded.open.column(
      `select count(*) from users_notes where user_id = ${key}`,
    );
    return String(count);
  }
}

async function race(engine: TestEngine, isolation: IsolationLevel): Promise<Race> {
  await using guarded = await GuardedDatabase.of(engine, WRITERS + 2);
  for (const low of KEYS) await guarded.setResidence("users", { low, state: "here" });
  const run = new Race(guarded, isolation);
  let n = 0;
  let writing = WRITERS;
  const writer = async () => {
    const connection = await guarded.open.database.acquire();
    try {
      while (run.acknowledged.size < INSERTS && n < INSERTS * 3) await run.write(connection, n++);
    } finally {
      writing -= 1;
      connection.release();
    }
  };
  const freezer = async () => {
    for (let round = 0; writing > 0 && round < ROUNDS_MAX * 20; round++) {
      await run.freeze(round);
      await sleep(2);
    }
  };
  await Promise.all([...Array.from({ length: WRITERS }, writer), freezer()]);
  expect(new Set(await guarded.ids("users"))).toEqual(run.acknowledged);
  return run;
}

forEachEngine((engine) => {
  describe(`a freeze on ${engine.name}`, () => {
    test("waits for the writers of its key, and for no others", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      if (!guarded.open.engine.dialect.capabilities.concurrentWriters) return;
      for (const low of KEYS) await guarded.setResidence("users", { low, state: "here" });
      await guarded.setResidence("users", { kind: "r", low: 100n, high: 200n, state: "here" });
      for (const [written, kind, low, high] of [
        [1n, "p", 1n, null],
        [150n, "r", 100n, 200n],
      ] as const) {
        const writer = await guarded.open.database.acquire();
        await writer.begin();
        await guarded.insert("users", written, written, writer);
        let done = false;
        const freeze = guarded.setResidence("users", { kind, low, high, state: "frozen" }).then(() => {
          done = true;
        });
        await guarded.setResidence("users", { low: 2n, state: "frozen" });
        await guarded.insert("users", 3n, written + 1000n);
        await sleep(100);
        expect(done).toBe(false);
        await guarded.insert("users", written, written + 2000n, writer);
        await writer.commit();
        writer.release();
        await freeze;
        await guarded.expectRefused(guarded.insert("users", written, 5000n), { reason: "not_here" });
        await guarded.setResidence("users", { low: 2n, state: "here" });
      }
      expect(await guarded.ids("users")).toEqual([1n, 150n, 1001n, 1150n, 2001n, 2150n]);
    });

    test("is seen by a writer that waited for it", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      if (!guarded.open.engine.dialect.capabilities.concurrentWriters) return;
      for (const isolation of ISOLATIONS) {
        await guarded.setResidence("users", { low: 1n, state: "here" });
        const freezer = await guarded.open.database.acquire();
        const writer = await guarded.open.database.acquire();
        await writer.begin({ isolation });
        // A snapshot from before the freeze.
        await guarded.sql("select * from tesserae_residence_users", [], writer);
        await freezer.begin();
        await guarded.setResidence("users", { low: 1n, state: "frozen" }, freezer);
        const insert = guarded.insert("users", 1n, 1n, writer).then(
          () => undefined,
          (error: unknown) => error,
        );
        await sleep(50);
        await freezer.commit();
        const error = await insert;
        expect(error, isolation).toBeDefined();
        expect(["GUARD_REFUSED", "SERIALIZATION"]).toContain(
          guarded.open.engine.dialect.classify(error).code,
        );
        await writer.rollback();
        freezer.release();
        writer.release();
      }
      expect(await guarded.ids("users")).toEqual([]);
    });

    test("stops a writer of a range that a split has replaced meanwhile", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      if (!guarded.open.engine.dialect.capabilities.concurrentWriters) return;
      await guarded.setResidence("users", { kind: "r", low: 0n, high: 100n, state: "here" });
      const splitter = await guarded.open.database.acquire();
      const writer = await guarded.open.database.acquire();
      await splitter.begin();
      await guarded.setResidence("users", { kind: "r", low: 50n, high: 100n, state: "gone" }, splitter);
      await guarded.setResidence("users", { kind: "r", low: 0n, high: 50n, state: "here" }, splitter);
      const insert = guarded.insert("users", 60n, 1n, writer).then(
        () => undefined,
        (error: unknown) => error,
      );
      await sleep(100);
      await splitter.commit();
      const { code, guard } = guarded.open.engine.dialect.classify(await insert);
      expect(code).toBe("GUARD_REFUSED");
      expect(["residence_changed", "not_here"]).toContain(guard?.reason);
      await guarded.expectRefused(guarded.insert("users", 60n, 2n, writer), { reason: "not_here" });
      splitter.release();
      writer.release();
      expect(await guarded.ids("users")).toEqual([]);
    });

    test("stops a writer of a range whose snapshot does not show the point that was put into it", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      if (!guarded.open.engine.dialect.capabilities.concurrentWriters) return;
      const range = { kind: "r", low: 0n, high: 100n, state: "here" } as const;
      for (const isolation of ISOLATIONS) {
        await guarded.setResidence("users", range);
        const writer = await guarded.open.database.acquire();
        await writer.begin({ isolation });
        await guarded.sql("select * from tesserae_residence_users", [], writer);
        const mover = await guarded.open.database.acquire();
        await mover.begin();
        const key = isolation === "read committed" ? 10n : 20n;
        await guarded.setResidence("users", range, mover);
        await guarded.setResidence("users", { low: key, state: "frozen" }, mover);
        await mover.commit();
        const error = await guarded.insert("users", key, key, writer).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(["GUARD_REFUSED", "SERIALIZATION"]).toContain(
          guarded.open.engine.dialect.classify(error).code,
        );
        await writer.rollback();
        writer.release();
        mover.release();
      }
      expect(await guarded.ids("users")).toEqual([]);
    });

    for (const isolation of ISOLATIONS) {
      test(`lets nothing pass in a race with writers in ${isolation}`, async () => {
        const { leaks, frozen, outcomes } = await race(engine, isolation);
        expect(leaks, JSON.stringify([...outcomes])).toBe(0);
        // The race has been one: freezes came between, and both sides won some.
        expect(frozen).toBeGreaterThan(5);
        expect(outcomes.get("committed")).toBeGreaterThan(100);
      }, 90_000);
    }
  });
});
