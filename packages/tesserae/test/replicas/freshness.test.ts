/** What a context has written, its reads on replicas see: whatever the replicas do meanwhile, and also where a token has carried it on. */
import { AsyncLocalStorage } from "node:async_hooks";
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  queryAsAdmin,
  type ReplicatedServer,
  type ReplicatedServers,
  runAsAdmin,
  whyUnavailable,
} from "@tesserae/test-support";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addUser, type DotsFederation } from "../federation/dots-federation.ts";
import type { TokenQuestion } from "./read-with-token.child.ts";
import {
  openReplicated,
  REPLICATED_ENGINES,
  readUntil,
  startServers,
  statesOf,
  untilAllServe,
} from "./replicated-federation.ts";

/** `TESSERAE_OWN_READS=100000` for the figure that is published. */
const OWN_READS = Number(process.env.TESSERAE_OWN_READS ?? 2_000);
const WRITERS = 4;

/** Another process with the same configuration, which reads what a token was given for. */
class OtherProcess {
  readonly #child;
  #asked = 0;

  constructor(urls: readonly string[]) {
    this.#child = fork(join(import.meta.dirname, "read-with-token.child.ts"), urls, {
      execArgv: ["--conditions=tesserae-source"],
    });
  }

  async read(question: Omit<TokenQuestion, "id">): Promise<string> {
    const id = ++this.#asked;
    const answered = new Promise<string>((resolve, reject) => {
      const hear = (answer: { id: number; name?: string; error?: string }) => {
        if (answer.id !== id) return;
        this.#child.off("message", hear);
        if (answer.name === undefined) reject(new Error(answer.error));
        else resolve(answer.name);
      };
      this.#child.on("message", hear);
    });
    this.#child.send({ ...question, id } satisfies TokenQuestion);
    return answered;
  }

  async end(): Promise<void> {
    this.#child.disconnect();
    await once(this.#child, "exit");
  }
}

const nameOf = async (fed: DotsFederation, id: bigint) =>
  (await fed.replica.selectFrom("users").select("name").where("id", "=", id).executeTakeFirst())?.name;

/** The name, and the port of the server that told it. */
const nameAndPort = async (fed: DotsFederation, id: bigint) =>
  fed.replica
    .selectFrom("users")
    .select([
      "name",
      sql<unknown>`${PORT[fed.status().main.address.startsWith("mysql") ? "mysql" : "postgres"]}`.as("port"),
    ])
    .where("id", "=", id)
    .executeTakeFirst();

/** An address of the database on whichever of the servers takes writes. */
function anyOf(main: unknown, { servers }: ReplicatedServers): string {
  const url = new URL(String(main));
  return url.href.replace(url.host, servers.map(({ port }) => `127.0.0.1:${port}`).join());
}

/** Lets a replica get nothing more of its primary's log. */
async function receiveNoMore(replica: ReplicatedServer): Promise<void> {
  if (replica.engine === "mysql") {
    await runAsAdmin(replica, ["stop slave io_thread"]);
    return;
  }
  await runAsAdmin(replica, [
    "alter system set primary_conninfo = 'host=127.0.0.1 port=1'",
    "select pg_reload_conf()",
  ]);
  const receives = "select count(*) as n from pg_stat_wal_receiver where status = 'streaming'";
  await expect
    .poll(async () => Number((await queryAsAdmin(replica, receives))[0]?.["n"]), { timeout: 10_000 })
    .toBe(0);
}

const PORT = { mysql: sql.raw("@@port"), postgres: sql.raw("current_setting('port')") };

describe.each(REPLICATED_ENGINES)("%s", (engine) => {
  const reason = whyUnavailable(engine);
  describe.skipIf(reason !== undefined)(reason ?? "freshness", () => {
    let servers: ReplicatedServers;
    beforeAll(async () => {
      servers = await startServers(engine);
    }, 60_000);
    afterAll(() => servers.stop());

    test(`no stale own read in ${OWN_READS} while replication stops and starts, here and by tokens in another process`, {
      timeout: 60_000 + OWN_READS * 60,
    }, async () => {
      await using opened = await openReplicated(servers, 0, { replication: { freshnessWaitMs: 100 } });
      const { fed } = opened;
      const users = [];
      for (let i = 0; i < WRITERS; i++) users.push(await addUser(fed, `writer ${i}`));
      await readUntil(fed, (replicas) => replicas.every(({ state }) => state === "healthy"));
      const other = new OtherProcess([String(opened.config.main), ...opened.config.replicas]);
      const stale: string[] = [];
      let reads = 0;
      let onReplicas = 0;
      let done = false;
      const readOwn = async ({ id }: { id: bigint }, writer: number) => {
        for (let i = 0; reads < OWN_READS; i++) {
          const name = `writer ${writer}, ${i}`;
          const token = await fed.freshness.run(async () => {
            if (i % 3 === 0) {
              await fed.main.transaction().execute(async (tx) => {
                await tx.updateTable("users").set({ name }).where("id", "=", id).execute();
              });
            } else {
              await fed.main.updateTable("users").set({ name }).where("id", "=", id).execute();
            }
            if (i % 10 === 0) return fed.freshness.token();
            reads += 1;
            const seen = await nameAndPort(fed, id);
            if (seen?.name !== name) stale.push(`${name}: ${seen?.name}`);
            if (Number(seen?.port) !== servers.primary.port) onReplicas += 1;
            return undefined;
          });
          if (token === undefined) continue;
          reads += 1;
          const seen = await other.read({ token, user: String(id) });
          if (seen !== name) stale.push(`${name}, by token: ${seen}`);
        }
      };
      const stopAndStart = async () => {
        for (let turn = 0; !done; turn++) {
          const replica = servers.replicas[turn % 2];
          await replica?.stopReplication();
          await sleep(100);
          await replica?.startReplication();
          await sleep(50);
        }
      };
      const stopping = stopAndStart();
      await Promise.all(users.map(readOwn)).finally(() => {
        done = true;
      });
      await stopping;
      await other.end();
      expect(stale).toEqual([]);
      expect(reads).toBeGreaterThanOrEqual(OWN_READS);
      if (OWN_READS >= 100_000)
        console.log(
          `${engine}: ${reads} own reads, ${onReplicas} without a token on replicas, ${stale.length} stale`,
        );
      // What goes to the primary proves nothing.
      expect(onReplicas).toBeGreaterThan(OWN_READS / 4);
    });

    test("a context waits for its own writes alone, and goes to the primary when the wait is over", async () => {
      await using opened = await openReplicated(servers, 0, { replication: { freshnessWaitMs: 200 } });
      const { fed } = opened;
      const ada = await addUser(fed, "ada");
      await servers.waitUntilCaughtUp();
      await readUntil(fed, (replicas) => replicas.every(({ state }) => state === "healthy"));
      for (const replica of servers.replicas) await replica.stopReplication();
      try {
        const rename = (name: string) =>
          fed.main.updateTable("users").set({ name }).where("id", "=", ada.id).execute();
        await fed.freshness.run(async () => {
          await rename("eve");
          expect(await nameOf(fed, ada.id)).toBe("eve");
          // Neither another context nor one that has only begun waits for that.
          expect(await fed.freshness.run(() => nameOf(fed, ada.id))).toBe("ada");
          const token = await fed.freshness.token();
          expect(token).toMatch(/^f1\.[\w-]{4,200}$/);
          expect(await fed.freshness.run(() => nameOf(fed, ada.id), { token })).toBe("eve");
          expect(await fed.freshness.run(() => fed.freshness.token(), { token })).toBe(token);
        });
        // A write that failed may have written; one that was refused before it was sent has not.
        await fed.freshness.run(async () => {
          const failing = fed.main.insertInto("users").values({ id: ada.id, name: "twin" }).execute();
          await expect(failing).rejects.toMatchObject({ code: "CONSTRAINT_UNIQUE" });
          expect(await nameOf(fed, ada.id)).toBe("eve");
        });
        const careless = await opened.open({ replication: { freshness: "none" } });
        await careless.main.updateTable("users").set({ name: "mallory" }).where("id", "=", ada.id).execute();
        expect(await careless.freshness.token()).toBeUndefined();
        expect(await fed.freshness.run(() => nameOf(fed, ada.id))).toBe("ada");
      } finally {
        for (const replica of servers.replicas) await replica.startReplication();
      }
    });

    test.runIf(engine === "mysql")("what a replica logs for itself is not taken as applied", async () => {
      await using opened = await openReplicated(servers, 0);
      const { fed, config } = opened;
      const ada = await addUser(fed, "ada");
      await servers.waitUntilCaughtUp();
      await readUntil(fed, (replicas) => replicas.every(({ state }) => state === "healthy"));
      const database = new URL(String(config.main)).pathname.slice(1);
      const onReplicas = (...statements: string[]) =>
        Promise.all(servers.replicas.map((replica) => runAsAdmin(replica, statements)));
      // Else it would refuse to apply what has a number that it has given itself.
      await onReplicas("set global gtid_strict_mode = 0", "stop slave sql_thread");
      await onReplicas(`analyze table \`${database}\`.users`);
      try {
        await fed.freshness.run(async () => {
          await fed.main.updateTable("users").set({ name: "eve" }).where("id", "=", ada.id).execute();
          expect(await nameOf(fed, ada.id)).toBe("eve");
        });
        // Nor does it make them other servers than those which follow the primary.
        await fed.probe();
        expect(statesOf(fed)).toEqual(["healthy", "healthy"]);
      } finally {
        await onReplicas("start slave sql_thread");
        await servers.waitUntilCaughtUp();
        await onReplicas("set global gtid_strict_mode = 1");
      }
    });

    test("nobody waits for what others have written and not committed", async () => {
      await using opened = await openReplicated(servers, 0, { replication: { freshnessWaitMs: 5_000 } });
      const { fed } = opened;
      const ada = await addUser(fed, "ada");
      const bob = await addUser(fed, "bob");
      await servers.waitUntilCaughtUp();
      await readUntil(fed, (replicas) => replicas.every(({ state }) => state === "healthy"));
      const rename = (
        db: Pick<DotsFederation["main"], "updateTable">,
        { id }: { id: bigint },
        name: string,
      ) => db.updateTable("users").set({ name }).where("id", "=", id).execute();
      await fed.freshness.run(async () => {
        await rename(fed.main, ada, "eve");
        const read = AsyncLocalStorage.bind(() => nameAndPort(fed, ada.id));
        await fed.freshness.run(() =>
          fed.main.transaction().execute(async (tx) => {
            await rename(tx, bob, "mallory");
            const row = await read();
            expect(row?.name).toBe("eve");
            expect(servers.replicas.map(({ port }) => port)).toContain(Number(row?.port));
          }),
        );
      });
    });

    test("main's writes are noted also where only the shard that it is has replicas", async () => {
      await using opened = await openReplicated(servers, 0);
      const { config } = opened;
      const ada = await addUser(opened.fed, "ada");
      await servers.waitUntilCaughtUp();
      const fed = await opened.open({
        replicas: undefined as never,
        shards: { 1: { primary: "main", replicas: config.replicas } },
      });
      const themes = () => fed.at(ada.id).replica.selectFrom("themes").select("label").execute();
      expect(await themes()).toEqual([]);
      for (const replica of servers.replicas) await replica.stopReplication();
      try {
        await fed.freshness.run(async () => {
          await fed.main.insertInto("themes").values({ id: 1n, label: "dark" }).execute();
          await fed.references.publish();
          expect(await themes()).toEqual([{ label: "dark" }]);
        });
      } finally {
        for (const replica of servers.replicas) await replica.startReplication();
      }
    });

    test("tokens that are none are refused, and foreign ones do no harm", async () => {
      await using opened = await openReplicated(servers, 0, { replication: { freshnessWaitMs: 5_000 } });
      const { fed } = opened;
      const ada = await addUser(fed, "ada");
      const tokenOf = (positions: object) =>
        `f1.${Buffer.from(JSON.stringify(positions)).toString("base64url")}`;
      const read = (token: string) => fed.freshness.run(() => nameOf(fed, ada.id), { token });
      for (const token of [
        "",
        "f1.",
        "nonsense",
        "f1.AAAA",
        tokenOf([]),
        tokenOf({ main: 1 }),
        tokenOf({ "db-1": "0/1" }),
      ])
        expect(() => read(token)).toThrow(expect.objectContaining({ code: "FRESHNESS_TOKEN_INVALID" }));
      await servers.waitUntilCaughtUp();
      const foreign = [
        { 7: "0/1" },
        // Of another engine, and of another installation that has written more.
        { main: engine === "mysql" ? "0/3000148" : "0-1-5" },
        { main: engine === "mysql" ? "0-1-999999999,5-1-7" : "FFFF/3000148" },
      ];
      const begunMs = performance.now();
      for (const positions of foreign) expect(await read(tokenOf(positions))).toBe("ada");
      // Nobody waited for what will never come.
      expect(performance.now() - begunMs).toBeLessThan(4_000);
    });

    test("while the primary is down reads go on; a context that has just written there does not read what is older", async () => {
      await using opened = await openReplicated(servers, 0, {
        replication: { freshnessWaitMs: 300, maxLagMs: 2_000 },
        failover: { waitMs: 200 },
      });
      const { fed } = opened;
      const ada = await addUser(fed, "ada");
      await servers.waitUntilCaughtUp();
      const idle = await opened.open();
      await readUntil(idle, (replicas) => replicas.every(({ state }) => state === "healthy"));
      await readUntil(fed, (replicas) => replicas.every(({ state }) => state === "healthy"));
      await fed.main.updateTable("users").set({ name: "eve" }).where("id", "=", ada.id).execute();
      await servers.primary.kill();
      try {
        await expect(nameOf(fed, ada.id)).rejects.toMatchObject({ retryable: true });
        expect(await nameOf(idle, ada.id)).toMatch(/ada|eve/);
        expect(await fed.freshness.run(() => nameOf(fed, ada.id))).toMatch(/ada|eve/);
        // After maxLagMs the write has been applied, or was lost with the primary.
        await expect
          .poll(() => nameOf(fed, ada.id).catch(String), { timeout: 10_000 })
          .toMatch(/^(ada|eve)$/);
      } finally {
        await servers.primary.restart();
      }
      await expect
        .poll(() => nameOf(fed, ada.id).catch(String), { timeout: 10_000 })
        .toBe((await fed.main.selectFrom("users").select("name").executeTakeFirst())?.name);
    });

    // PostgreSQL's demoted server is restarted, so that nobody can go on asking it.
    test.runIf(engine === "mysql")(
      "the position is asked of the new primary, also where the former one still answers",
      async () => {
        await using opened = await openReplicated(servers, 0);
        const { config } = opened;
        const ada = await addUser(opened.fed, "ada");
        await servers.waitUntilCaughtUp();
        const fed = await opened.open({
          main: anyOf(config.main, servers),
          replicas: [...config.replicas, String(config.main)],
          // Nobody finds the new primary by looking around.
          failover: { checkMs: 60_000 },
        });
        const [next, other] = servers.replicas as [ReplicatedServer, ReplicatedServer];
        const readsOwn = (name: string) =>
          fed.freshness.run(async () => {
            await fed.main.updateTable("users").set({ name }).execute();
            const row = await nameAndPort(fed, ada.id);
            expect(row?.name).toBe(name);
            return Number(row?.port);
          });
        await readUntil(fed, ([, second]) => second?.state === "healthy");
        await readsOwn("before");
        await servers.primary.demote();
        await next.waitUntilCaughtUp();
        await next.promote();
        // The other replica still follows the former primary, and lacks nothing that this one has.
        await readsOwn("after");
        await Promise.all([servers.primary.follow(next), other.follow(next)]);
        // The former primary is a replica like others.
        await readUntil(fed, (replicas) =>
          ["unfit", "healthy", "healthy"].every((state, index) => replicas[index]?.state === state),
        );
        let turn = 0;
        await untilAllServe([servers.primary, other], () => readsOwn(`turn ${++turn}`), [next]);
        await opened.fed.close();
        await fed.close();
        await servers.switchOver(servers.primary);
      },
    );

    // Last, for afterwards two of the servers have parted.
    test("who has applied what the promoted server lacks does not answer for what is written there", {
      timeout: 60_000,
    }, async () => {
      await using opened = await openReplicated(servers, 0);
      const ada = await addUser(opened.fed, "ada");
      await servers.waitUntilCaughtUp();
      const fed = await opened.open({
        main: anyOf(opened.config.main, servers),
        failover: { waitMs: 20_000, checkMs: 100 },
      });
      await readUntil(fed, (replicas) => replicas.every(({ state }) => state === "healthy"));
      const [next, other] = servers.replicas as [ReplicatedServer, ReplicatedServer];
      await receiveNoMore(next);
      const rename = (name: string) => fed.main.updateTable("users").set({ name }).execute();
      // More than the promotion itself writes.
      for (let i = 0; i < 60; i++) await rename(`lost ${i} ${"x".repeat(40)}`);
      await other.waitUntilCaughtUp();
      await servers.primary.kill();
      await next.promote();
      for (let i = 0; i < 4; i++)
        await fed.freshness.run(async () => {
          await rename(`new ${i}`);
          for (let j = 0; j < 3; j++) expect(await nameOf(fed, ada.id)).toBe(`new ${i}`);
        });
      expect(fed.status().replicas).toMatchObject([
        { state: "unfit", reason: expect.stringMatching(/takes writes/) },
        { state: "unfit", reason: expect.stringMatching(/has what its primary lacks/) },
      ]);
    });
  });
});
