/** A federation whose main and shard have a PgBouncer in transaction mode before the primary, and another one before its replica: reads on replicas, own writes, a failover. */
import {
  findBinary,
  type PrivatePgBouncer,
  type ReplicatedDatabase,
  type ReplicatedServer,
  type ReplicatedServers,
  startPgBouncer,
  startReplicated,
  whyUnavailable,
} from "@tesserae/test-support";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { federate, isTesseraeError } from "../../src/index.ts";
import { readUntil } from "../replicas/replicated-federation.ts";
import { addDot, addUser, type DotsFederation, dotsSchema } from "./dots-federation.ts";

const why =
  whyUnavailable("postgres") ??
  (findBinary("pgbouncer") === undefined ? "pgbouncer is not installed" : undefined);
const suite = why === undefined ? describe : describe.skip;

const OWN_READS = 150;
const WRITERS = 3;

suite(`a replicated federation behind PgBouncer${why === undefined ? "" : ` (left out: ${why})`}`, () => {
  let set: ReplicatedServers;
  let fed: DotsFederation;
  const bouncers: PrivatePgBouncer[] = [];
  const endings: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    set = await startReplicated("postgres", { replicas: 1 });
    endings.unshift(() => set.stop());
    for (const server of set.servers) {
      const bouncer = await startPgBouncer(server, { poolSize: 3, settings: { server_login_retry: "1" } });
      bouncers.push(bouncer);
      endings.unshift(() => bouncer.stop());
    }
    const through = ({ urls }: ReplicatedDatabase) =>
      urls.map((url, index) => `${bouncers[index]?.through(url)}?pooler=transaction`);
    const listOf = (urls: readonly string[]) => {
      const url = new URL(urls[0] as string);
      return url.href.replace(url.host, bouncers.map(({ host, port }) => `${host}:${port}`).join());
    };
    const [main, shard] = [through(await set.freshDatabase()), through(await set.freshDatabase())];
    fed = await federate({
      schema: dotsSchema,
      main: listOf(main),
      // Whichever is the primary is unfit as its own replica.
      replicas: main,
      shards: { 1: { primary: listOf(shard), replicas: shard } },
      failover: { waitMs: 30_000, checkMs: 100 },
    });
    endings.unshift(() => fed.close());
    await fed.schema.apply();
    await fed.tickets.next("dots");
  }, 60_000);
  afterAll(async () => {
    for (const end of endings) await end();
  });

  const PORT = sql<string>`current_setting('port')`.as("port");
  const onePrimaryOneReplica = () =>
    readUntil(fed, (replicas) => {
      const states = replicas.filter(({ cluster }) => cluster === "main").map(({ state }) => state);
      return states.sort().join() === "healthy,unfit";
    });
  const replica = () => set.servers.find(({ role }) => role === "replica") as ReplicatedServer;

  /** Writes and reads what it has written, each time; gives the ports that the reads on replicas came from. */
  async function readOwnWrites(): Promise<ReadonlySet<number>> {
    const ports = new Set<number>();
    await Promise.all(
      Array.from({ length: WRITERS }, (_, writer) =>
        fed.freshness.run(async () => {
          const user = await addUser(fed, `writer ${writer} ${performance.now()}`);
          for (let read = 0; read < OWN_READS / WRITERS; read++) {
            const name = `writer ${writer}, ${read} ${performance.now()}`;
            await fed.main.updateTable("users").set({ name }).where("id", "=", user.id).execute();
            const there = fed.replica.selectFrom("users").select(["name", PORT]).where("id", "=", user.id);
            const { name: seen, port } = await there.executeTakeFirstOrThrow();
            expect(seen).toBe(name);
            ports.add(Number(port));
            if (read % 10 > 0) continue;
            const dot = await addDot(fed, user, `0.${String(read).padStart(6, "0")}`, "1");
            const dots = await fed
              .at(user.id)
              .replica.transaction()
              .execute((tx) => tx.selectFrom("dots").select("id").where("id", "=", dot).execute());
            expect(dots).toEqual([{ id: dot }]);
          }
        }),
      ),
    );
    return ports;
  }

  test("reads from replicas what its context has written", async () => {
    await onePrimaryOneReplica();
    expect(await readOwnWrites()).toContain(replica().port);
    // The replica's PgBouncer has had connections of both databases.
    const pools = await (bouncers[1] as PrivatePgBouncer).show("pools");
    expect(pools.filter(({ user }) => user !== "pgbouncer").length).toBe(2);
  }, 60_000);

  test("goes on with the replica when it is promoted", async () => {
    const [first, second] = bouncers.map(({ host, port }) => `${host}:${port}`);
    expect(fed.status().main.primary).toBe(first);
    const user = await addUser(fed, "Grace");
    const written: bigint[] = [];
    const failures: unknown[] = [];
    let on = true;
    const writer = async (lon: number) => {
      for (let n = 0; on; n++)
        await addDot(fed, user, `0.${String(n).padStart(6, "0")}`, `${lon}`).then(
          (id) => written.push(id),
          (error: unknown) => {
            if (!isTesseraeError(error, "CONNECTION_LOST")) failures.push(error);
          },
        );
    };
    const writing = Promise.all([writer(1), writer(2)]);
    const reach = (count: number) =>
      vi.waitFor(() => expect(written.length).toBeGreaterThan(count), { timeout: 20_000 });
    await reach(30);
    const before = [...written];
    await set.waitUntilCaughtUp();
    const [primary, promoted] = [set.primary, replica()];
    await primary.kill();
    await promoted.promote();
    await reach(written.length + 60);
    on = false;
    await writing;
    expect(failures).toEqual([]);
    // Nobody has used main meanwhile.
    await fed.main.selectFrom("users").select("id").execute();
    expect([fed.status().main.primary, fed.status().shards[0]?.primary]).toEqual([second, second]);
    const dots = await fed.at(user.id).selectFrom("dots").select("id").execute();
    const there = new Set(dots.map(({ id }) => id));
    expect(before.filter((id) => !there.has(id))).toEqual([]);

    // The former primary comes back as the replica, and its PgBouncer with it.
    await primary.follow(promoted);
    await set.waitUntilCaughtUp();
    await onePrimaryOneReplica();
    expect(await readOwnWrites()).toContain(primary.port);
  }, 120_000);
});
