/** Which clusters main plays changes nothing for an application: every combination gives the same answers. */
import { forEachEngine, type ReplicatedServers } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addDot, addUser, type DotsFederation, openDots } from "../federation/dots-federation.ts";
import { openReplicated, startServers } from "./replicated-federation.ts";

/** What an application does, with everything that it sees. */
async function use(fed: DotsFederation): Promise<unknown> {
  const ada = await addUser(fed, "ada");
  const bob = await addUser(fed, "bob");
  await addDot(fed, ada, "1.5", "2.5");
  await fed.main.insertInto("themes").values({ id: 1n, label: "dark" }).execute();
  await fed.references.publish();
  const { replica } = fed.at(ada.id);
  const refused = async (write: () => Promise<unknown>) =>
    write().then(
      () => "written",
      (error: { code?: string }) => error.code,
    );
  const token = await fed.freshness.run(async () => {
    await fed.at(bob.id).updateTable("sheets").set({ label: "late" }).execute();
    return fed.freshness.token();
  });
  return {
    ids: ada.id !== bob.id,
    users: await fed.replica.selectFrom("users").select("name").orderBy("name").execute(),
    dots: await replica.selectFrom("dots").select(["lat", "lon", "open"]).execute(),
    themes: await replica.selectFrom("themes").select("label").execute(),
    ofBob: await fed.at(bob.id).replica.selectFrom("dots").select("id").execute(),
    byToken: await fed.freshness.run(
      () => fed.at(bob.id).replica.selectFrom("sheets").select("label").execute(),
      token === undefined ? {} : { token },
    ),
    inTransaction: await fed.replica
      .transaction()
      .execute((tx) => tx.selectFrom("themes").select("label").execute()),
    strict: await fed
      .at(ada.id, { consistency: "strict" })
      .replica.selectFrom("sheets")
      .select("label")
      .execute(),
    writes: [
      await refused(() => fed.replica.deleteFrom("users").execute()),
      await refused(() => replica.deleteFrom("dots").execute()),
      await refused(() => replica.selectFrom("dots").selectAll().forUpdate().execute()),
      await refused(() => replica.unfiltered().deleteFrom("dots").execute()),
      await refused(() => fed.replica.transaction().execute(() => fed.main.deleteFrom("users").execute())),
    ],
  };
}

const ANSWERS = {
  ids: true,
  users: [{ name: "ada" }, { name: "bob" }],
  dots: [{ lat: "1.500000", lon: "2.500000", open: true }],
  themes: [{ label: "dark" }],
  ofBob: [],
  byToken: [{ label: "late" }],
  inTransaction: [{ label: "dark" }],
  strict: [{ label: "ada's" }],
  writes: [
    "REPLICA_READ_ONLY",
    "REPLICA_READ_ONLY",
    "REPLICA_READ_ONLY",
    "REPLICA_READ_ONLY",
    "TRANSACTION_OTHER_SHARD",
  ],
};

const SWITCHES = [true, false].flatMap((replicas) =>
  [true, false].flatMap((federation) => [true, false].map((tickets) => ({ replicas, federation, tickets }))),
);

forEachEngine((engine) => {
  if (engine.name === "sqlite") {
    test.each(SWITCHES.filter(({ replicas }) => replicas))("sqlite: main plays %j", async (poorMans) => {
      await using tickets = await engine.databases(2);
      await using dots = await openDots(engine, poorMans.federation ? 0 : 2, {
        poorMans,
        ...(poorMans.tickets ? {} : { tickets: tickets.urls }),
      });
      expect(await use(dots.fed)).toEqual(ANSWERS);
    });
    return;
  }
  const { name } = engine;
  describe(name, () => {
    let servers: ReplicatedServers;
    beforeAll(async () => {
      servers = await startServers(name, 1);
    }, 60_000);
    afterAll(() => servers.stop());

    test.each(SWITCHES)("main plays %j", async (poorMans) => {
      const tickets = poorMans.tickets
        ? {}
        : { tickets: [await servers.primary.createDatabase(), await servers.primary.createDatabase()] };
      await using opened = await openReplicated(servers, poorMans.federation ? 0 : 2, {
        poorMans,
        ...tickets,
        ...(poorMans.replicas ? { replicas: undefined as never } : {}),
      });
      expect(opened.fed.status().poorMans).toEqual(poorMans);
      expect(await use(opened.fed)).toEqual(ANSWERS);
    });
  });
});
