/** Range federations as members with their ranges, and what raw SQL over all shards does while tenants move. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, it } from "vitest";
import {
  bigint,
  bytes,
  type Column,
  defineSchema,
  type FederationMember,
  federate,
  federated,
  type KeyValue,
  text,
  uuid,
} from "../../src/index.ts";
import { MOVE_INTERNALS } from "../../src/move/move-internals.ts";
import { refused } from "../federation/refused.ts";
import { LEASE_MS, QUICK } from "../move/albums.ts";

const ends = (members: readonly FederationMember[]) =>
  members.map(({ kind, shard, low, high }) => (kind === "range" ? [shard, low, high] : [shard, "points"]));

/** Of each kind of key the first of all, one to split at, and one as far up as keys go. */
const KEYS: readonly { readonly kind: string; key(): Column<never>; readonly values: readonly KeyValue[] }[] =
  [
    { kind: "bigint", key: () => bigint() as never, values: [-(2n ** 63n), 0n, 2n ** 63n - 1n] },
    { kind: "text", key: () => text(20) as never, values: ["", "m", "\u{10ffff}".repeat(20)] },
    {
      kind: "uuid",
      key: () => uuid() as never,
      values: [
        "00000000-0000-0000-0000-000000000000",
        "80000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
      ],
    },
    {
      kind: "bytes",
      key: () => bytes(4) as never,
      values: [new Uint8Array(0), Uint8Array.of(128), Uint8Array.of(255, 255, 255, 255)],
    },
  ];

forEachEngine((engine) => {
  describe(`the members of a federation on ${engine.name}`, () => {
    it("begin with one that covers the whole domain, low inclusive and high exclusive, for every kind of key", async () => {
      await using databases = await opened(3);
      const [main, one, two] = databases.urls as [string, string, string];
      const schema = defineSchema({
        federations: Object.fromEntries(KEYS.map(({ kind, key }) => [kind, key()])),
        tables: Object.fromEntries(
          KEYS.map(({ kind, key }) => [
            `notes_${kind}`,
            federated("owner", { owner: key(), id: bigint() }, { federation: kind } as never),
          ]),
        ),
      } as never);
      await using fed = await federate({
        schema,
        main,
        shards: { 1: one, 2: two },
        directory: { leaseMs: LEASE_MS },
      });
      await fed.schema.apply();
      for (const { kind, values } of KEYS) {
        const [first, at, last] = values as [KeyValue, KeyValue, KeyValue];
        const handle = fed.in(kind as never);
        await handle.tenants.addRange({}, { shard: 1 });
        expect(ends(await handle.members())).toEqual([[1, null, null]]);
        for (const key of values) expect((await handle.tenants.where(key as never)).shard).toBe(1);
        await handle.split({ at: at as never, to: 2 }, QUICK);
        expect(ends(await handle.members())).toEqual([
          [1, null, at],
          [2, at, null],
        ]);
        const shardOf = async (key: KeyValue) => (await handle.tenants.where(key as never)).shard;
        expect(await Promise.all([first, at, last].map(shardOf))).toEqual([1, 2, 2]);
        await refused("RANGE_OVERLAP", () => handle.tenants.addRange({ low: last as never }, { shard: 1 }));
        const manager = handle.shardManager();
        expect(await manager.getShards()).toEqual([
          { id: 1, rangeLow: null, rangeHigh: at, kind: "range" },
          { id: 2, rangeLow: at, rangeHigh: null, kind: "range" },
        ]);
      }
    }, 60_000);

    it("show what is under way, and raw SQL over all shards does not count a row twice in silence", async () => {
      await using databases = await opened(3);
      const [main, one, two] = databases.urls as [string, string, string];
      const schema = defineSchema({
        key: bigint(),
        tables: { notes: federated("owner", { owner: bigint(), id: bigint() }) },
      });
      let atRound = async () => {};
      const internals = { at: (point: string) => (point === "catchUp:round" ? atRound() : undefined) };
      await using fed = (await federate({
        schema,
        main,
        shards: { 1: one, 2: two },
        directory: { leaseMs: LEASE_MS },
        [MOVE_INTERNALS]: internals,
      } as never)) as never as Awaited<ReturnType<typeof federate<typeof schema>>>;
      await fed.schema.apply();
      await fed.tenants.addRange({ high: 100n }, { shard: 1 });
      await fed.tenants.add(500n, { shard: 2 });
      for (const key of [1n, 500n]) await fed.at(key).insertInto("notes").values({ id: key }).execute();
      expect(ends(await fed.members())).toEqual([
        [1, null, 100n],
        [2, "points"],
      ]);
      await using manager = fed.shardManager();
      expect(await manager.getShards()).toEqual([
        { id: 1, rangeLow: null, rangeHigh: 100n, kind: "range" },
        { id: 2, rangeLow: null, rangeHigh: null, kind: "points" },
      ]);
      const all = (options = {}) => manager.queryAll("select owner from notes order by owner", [], options);
      expect(await all()).toEqual([{ owner: 1n }, { owner: 500n }]);

      const during = Promise.withResolvers<FederationMember[]>();
      atRound = async () => {
        atRound = async () => {};
        const refusal = await refused("MOVE_UNDER_WAY", () => all());
        expect(refusal.message).toContain("fed.everywhere");
        // Both copies of the row.
        expect(await all({ whileMoving: "allow" })).toHaveLength(3);
        during.resolve(await fed.members());
      };
      await Promise.all([fed.moves.move({ high: 100n }, { to: 2, ...QUICK }), during.promise]);
      const members = await during.promise;
      expect(members.map(({ shard, state, operations }) => [shard, state, operations.length])).toEqual([
        [1, "moving", 1],
        [2, "active", 0],
      ]);
      expect(members[0]?.operations[0]).toMatchObject({ from: 1, to: 2, step: "catchUp", percent: 50 });
      expect(ends(await fed.members())).toEqual([
        [2, null, 100n],
        [2, "points"],
      ]);
      expect(await all()).toEqual([{ owner: 1n }, { owner: 500n }]);
    }, 60_000);
  });

  async function opened(count: number) {
    const databases = await engine.databases(count, { servers: 2 });
    return { urls: databases.urls, [Symbol.asyncDispose]: () => databases.cleanUp() };
  }
});
