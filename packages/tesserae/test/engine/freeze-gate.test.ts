/** A freeze of a busy key is not overtaken by the writers that keep coming: it waits for those it finds, and for no later ones. */
import { setTimeout as sleep } from "node:timers/promises";
import { forEachEngine, type TestEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import type { Connection } from "../../src/engine/contract.ts";
import { residenceTableName } from "../../src/engine/control-tables.ts";
import type { KeyValue } from "../../src/schema/logical-type.ts";
import type { FederationModel } from "../../src/schema/model.ts";
import { GuardedDatabase, model } from "./guarded-database.ts";

const WRITERS = 20;
const HOLD_MS = 30;
/** Without the gate a freeze needed seconds. */
const FREEZE_MS_MAX = 600;

const federation = model.federations.get("users") as FederationModel;

/** Locks a residence alone, as a mover does: through the gate, where there is one. */
async function lockAlone(guarded: GuardedDatabase, connection: Connection, kind: "p" | "r", low: KeyValue) {
  const { dialect } = guarded.open.engine;
  const key = guarded.encode("users", low);
  const gate = dialect.gateSql(federation, 1);
  if (gate !== undefined) await connection.run({ sql: gate, parameters: [key] });
  await guarded.sql(
    `select state from ${residenceTableName("users")} where kind = ? and low = ?${dialect.capabilities.forUpdate}`,
    [kind, key],
    connection,
  );
}

/** How long each of some freezes waits while writers of `written` overlap each other without a gap. */
async function freezeTimes(
  engine: TestEngine,
  residence: { readonly kind: "p" | "r"; readonly low: bigint; readonly high?: bigint },
  written: bigint,
): Promise<number[]> {
  await using guarded = await GuardedDatabase.of(engine, WRITERS + 2);
  await guarded.setResidence("users", { ...residence, state: "here" });
  let stop = false;
  let nextId = 1n;
  const writer = async (n: number) => {
    const connection = await guarded.open.database.acquire();
    try {
      await sleep((n * HOLD_MS) / WRITERS);
      while (!stop) {
        await connection.begin({ isolation: "read committed" });
        await guarded.insert("users", written, nextId++, connection);
        await sleep(HOLD_MS);
        await connection.commit();
      }
    } finally {
      connection.release();
    }
  };
  const writers = Array.from({ length: WRITERS }, (_, n) => writer(n));
  const times: number[] = [];
  const freezer = await guarded.open.database.acquire();
  try {
    for (let round = 0; round < 5; round++) {
      await sleep(100);
      await freezer.begin({ isolation: "read committed" });
      const since = performance.now();
      await lockAlone(guarded, freezer, residence.kind, residence.low);
      times.push(performance.now() - since);
      await freezer.commit();
    }
  } finally {
    stop = true;
    await Promise.all(writers);
    freezer.release();
  }
  return times;
}

forEachEngine((engine) => {
  // With one writer at a time there is one queue for all.
  if (engine.name === "sqlite") return;
  describe(`a freeze on ${engine.name}`, () => {
    test("of a point gets its turn among overlapping writers", async () => {
      const times = await freezeTimes(engine, { kind: "p", low: 7n }, 7n);
      expect(Math.max(...times)).toBeLessThan(FREEZE_MS_MAX);
    });

    test("of a range gets its turn among overlapping writers of a key in it", async () => {
      const times = await freezeTimes(engine, { kind: "r", low: 100n, high: 200n }, 150n);
      expect(Math.max(...times)).toBeLessThan(FREEZE_MS_MAX);
    });

    test("takes the gates of several keys, whatever their order and type", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      for (const [name, keys] of [
        ["users", [3n, -1n]],
        ["blogs", ["b", "'a"]],
        ["devices", ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000000"]],
        ["blobs", [new Uint8Array([255]), new Uint8Array()]],
      ] as const) {
        const gate = guarded.open.engine.dialect.gateSql(
          model.federations.get(name) as FederationModel,
          keys.length,
        );
        if (gate === undefined) return;
        const connection = await guarded.open.database.acquire();
        await connection.begin();
        await connection.run({ sql: gate, parameters: keys.map((key) => guarded.encode(name, key)) });
        const held = await guarded.open.column(
          "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock'",
          connection,
        );
        expect(held).toEqual([2n]);
        await connection.rollback();
        connection.release();
      }
    });
  });
});
