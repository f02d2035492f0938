/** A federation whose every database is behind a PgBouncer in transaction mode, with fewer connections of the server than the library opens. */
import {
  findBinary,
  freshDatabases,
  type PrivatePgBouncer,
  sharedServer,
  startPgBouncer,
  whyUnavailable,
} from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { federate, isTesseraeError, postgres } from "../../src/index.ts";
import { addDot, addUser, type DotsFederation, dotsSchema } from "./dots-federation.ts";

const why =
  whyUnavailable("postgres") ??
  (findBinary("pgbouncer") === undefined ? "pgbouncer is not installed" : undefined);
const suite = why === undefined ? describe : describe.skip;

/** Of each database. */
const SERVER_CONNECTIONS = 2;
const WRITERS = 12;
const LEASE_MS = 30;

suite(`a federation behind PgBouncer${why === undefined ? "" : ` (left out: ${why})`}`, () => {
  let fed: DotsFederation;
  let urls: readonly string[] = [];
  const bouncers: PrivatePgBouncer[] = [];
  const endings: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    const databases = await freshDatabases("postgres", 5, { servers: 2 });
    endings.unshift(() => databases.cleanUp());
    for (const index of [0, 1]) {
      const bouncer = await startPgBouncer(await sharedServer("postgres", index), {
        poolSize: SERVER_CONNECTIONS,
      });
      bouncers.push(bouncer);
      endings.unshift(() => bouncer.stop());
    }
    urls = databases.urls.map((url, index) => (bouncers[index % 2] as PrivatePgBouncer).through(url));
    const [main = "", one = "", two = "", ...tickets] = urls.map((url) => `${url}?pooler=transaction`);
    fed = await federate({
      schema: dotsSchema,
      main,
      shards: { 1: one, 2: two },
      tickets,
      directory: { leaseMs: LEASE_MS },
    });
    endings.unshift(() => fed.close());
    await fed.schema.apply();
    // Before its first id of a sequence a process looks at the ids in use on every shard: not while transactions that wait for the id have all their connections.
    await fed.tickets.next("dots");
  });
  afterAll(async () => {
    for (const end of endings) await end();
  });

  const dotsOf = (id: bigint) => fed.at(id).selectFrom("dots").select(["id", "lat"]).orderBy("id").execute();

  test("answers over all shards, and stops their statements on the servers", async () => {
    const shard = postgres(`${urls[1]}?pooler=transaction`).open(POOL_DEFAULTS);
    endings.unshift(() => shard.close());
    const locker = await shard.acquire();
    endings.unshift(async () => locker.release());
    await locker.begin();
    await locker.run({ sql: "lock table sheets in access exclusive mode", parameters: [] });
    const waiting = async () => {
      const sql = "select count(*) as n from pg_locks where not granted and relation = 'sheets'::regclass";
      return Number((await locker.run({ sql, parameters: [] })).rows[0]?.["n"]);
    };
    const sheets = fed.everywhere.selectFrom("sheets").select("id");
    const controller = new AbortController();
    const stopped = sheets.execute({ signal: controller.signal }).catch((error: Error) => error.message);
    await vi.waitFor(async () => expect(await waiting()).toBe(1), 10_000);
    controller.abort(new Error("enough"));
    expect(await stopped).toBe("enough");
    await vi.waitFor(async () => expect(await waiting()).toBe(0), 10_000);
    await locker.rollback();
    locker.release();
    expect(await sheets.execute()).toEqual([]);
  });

  test("has tenants, tickets and writers beside each other", async () => {
    const users = await Promise.all(
      Array.from({ length: WRITERS }, (_, n) => addUser(fed, `user ${n}`, (n % 2) + 1)),
    );
    await Promise.all(
      users.map((user) =>
        fed
          .at(user.id)
          .transaction()
          .execute(async (tx) => {
            for (let n = 0; n < 5; n++) {
              const id = await fed.tickets.next("dots");
              await tx
                .insertInto("dots")
                .values({ id, sheet_id: user.sheet, lat: `${n}.5`, lon: "1.25", details: { n } })
                .execute();
            }
            await tx.updateTable("dots").set({ hits: 7 }).where("lat", "=", "4.5").execute();
          }),
      ),
    );
    for (const { id } of users) {
      const dots = await dotsOf(id);
      expect(dots.map(({ lat }) => lat)).toEqual([0, 1, 2, 3, 4].map((n) => `${n}.500000`));
    }
    expect(
      new Set((await Promise.all(users.map(({ id }) => dotsOf(id)))).flat().map(({ id }) => id)).size,
    ).toBe(5 * WRITERS);
    for (const bouncer of bouncers) {
      // The library had more connections than there are of the server.
      const pools = (await bouncer.show("pools")).filter(({ user }) => user !== "pgbouncer");
      const sum = (prefix: string) =>
        Math.max(
          ...pools.map((pool) =>
            Object.entries(pool).reduce((n, [name, of]) => (name.startsWith(prefix) ? n + Number(of) : n), 0),
          ),
        );
      expect(sum("cl_")).toBeGreaterThan(SERVER_CONNECTIONS);
      expect(sum("sv_")).toBeLessThanOrEqual(SERVER_CONNECTIONS);
    }
  });

  test("takes back what a transaction has done, and refuses what the guard refuses", async () => {
    const user = await addUser(fed, "Grace", 1);
    const dot = await addDot(fed, user, "1", "2");
    await expect(
      fed
        .at(user.id)
        .transaction()
        .setIsolationLevel("serializable")
        .execute(async (tx) => {
          await tx.deleteFrom("dots").execute();
          throw new Error("changed my mind");
        }),
    ).rejects.toThrow("changed my mind");
    expect((await dotsOf(user.id)).map(({ id }) => id)).toEqual([dot]);
    await expect(addDot(fed, { ...user, sheet: -1n }, "1", "2")).rejects.toMatchObject({
      code: "CONSTRAINT_FOREIGN_KEY",
    });
  });

  test("streams while others write", async () => {
    const user = await addUser(fed, "Edsger", 2);
    await fed
      .at(user.id)
      .insertInto("sheets")
      .values(Array.from({ length: 600 }, (_, n) => ({ id: BigInt(1_000_000 + n), label: `${n}` })))
      .execute();
    const labels: string[] = [];
    for await (const { label } of fed
      .at(user.id)
      .selectFrom("sheets")
      .select("label")
      .orderBy("id")
      .stream(50)) {
      if (labels.length % 100 === 0) await addDot(fed, user, `${labels.length / 100}`, "0");
      labels.push(label);
    }
    expect(labels).toHaveLength(601);
    expect(await dotsOf(user.id)).toHaveLength(7);
  });

  test("moves a key while it is written", async () => {
    const user = await addUser(fed, "Barbara", 1);
    let moved = false;
    const written: bigint[] = [];
    const writer = async (lon: number) => {
      for (let n = 0; !moved || n < 5; n++)
        written.push(await addDot(fed, user, `0.${String(n).padStart(6, "0")}`, `${lon}`));
    };
    const writing = Promise.all([writer(1), writer(2), writer(3)]);
    const status = await fed.moves.move(user.id, { to: 2, graceMs: LEASE_MS }).finally(() => {
      moved = true;
    });
    await writing;
    expect(status).toMatchObject({ state: "done", to: 2 });
    expect((await dotsOf(user.id)).map(({ id }) => id)).toEqual(written.sort((a, b) => (a < b ? -1 : 1)));
  });

  test("is refused where nobody said a word of the pooler", async () => {
    const refused = (async () => {
      await using other = await federate({ schema: dotsSchema, main: urls[0] as string });
      await other.main.selectFrom("users").selectAll().execute();
    })();
    const error = await refused.catch((reason: unknown) => reason);
    expect(isTesseraeError(error, "POOLER_TRANSACTION") && error.cluster).toBe("main");
  });
});
