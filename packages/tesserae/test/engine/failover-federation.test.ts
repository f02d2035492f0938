/** A whole federation whose main and shards change their primary while rows are written, ids taken, keys added and moved. */
import { type ReplicatedServers, startReplicated, whyUnavailable } from "@tesserae/test-support";
import { describe, expect, test, vi } from "vitest";
import { isTesseraeError } from "../../src/base/errors.ts";
import { showStatus } from "../../src/cli/status-command.ts";
import { bigint, defineSchema, federate, federated, text } from "../../src/index.ts";

const schema = defineSchema({
  key: bigint(),
  tables: {
    notes: federated("user_id", { id: bigint().ticket(), user_id: bigint(), body: text(40) }),
  },
});

const KEYS = [1n, 2n, 3n, 4n];

for (const name of ["mysql", "postgres"] as const) {
  describe.skipIf(whyUnavailable(name) !== undefined)(`a federation on ${name}`, () => {
    test("goes on while its databases change their primary", async () => {
      await using set = await startReplicated(name, { replicas: 1 });
      const [main, two] = [await set.freshDatabase(), await set.freshDatabase()];
      const both = (index: number) => urlOfBoth(set, [main, two][index]?.urls ?? []);
      const config = {
        schema,
        main: both(0),
        shards: { 1: "main", 2: both(1) },
        failover: { waitMs: 30_000, checkMs: 100 },
      } as const;
      await using fed = await federate(config);
      const primaries = () => {
        const { main, control, shards } = fed.status();
        return [main, control, ...shards].map(({ primary }) => primary);
      };
      expect(primaries()).toEqual([undefined, undefined, undefined, undefined]);
      await fed.schema.apply();
      const [first, second] = set.servers.map(({ host, port }) => `${host}:${port}`);
      expect(primaries()).toEqual([first, first, first, first]);
      for (const key of KEYS) await fed.tenants.add(key, { shard: 1 });

      const written = new Map<bigint, bigint>();
      const unknown = new Set<bigint>();
      const ids = new Set<bigint>();
      let on = true;
      const writer = async (key: bigint) => {
        for (let count = 0; on; count++) {
          const id = await fed.tickets.next("notes");
          expect(ids.has(id)).toBe(false);
          ids.add(id);
          const row = { id, body: `note ${count}` };
          const work =
            count % 2 === 0
              ? fed.at(key).insertInto("notes").values(row).execute()
              : fed
                  .at(key)
                  .transaction()
                  .execute((tx) => tx.insertInto("notes").values(row).execute());
          await work.then(
            () => written.set(id, key),
            (error: unknown) => {
              if (isTesseraeError(error, "CONNECTION_LOST")) unknown.add(id);
              // In a transaction a refusal is the caller's; nothing was written.
              else if (!isTesseraeError(error, "SERVER_READ_ONLY")) throw error;
            },
          );
        }
      };
      const mover = async () => {
        for (let to = 2; on; to = to === 2 ? 1 : 2) await fed.moves.move(4n, { to });
      };
      const adder = async () => {
        for (let key = 100n; on; key++) await fed.tenants.add(key);
      };
      const work = [...KEYS.map(writer), mover(), adder()];
      const failed = Promise.all(work).then(() => undefined);
      const reach = (count: number) =>
        Promise.race([
          failed,
          vi.waitFor(() => expect(written.size).toBeGreaterThan(count), { timeout: 30_000 }),
        ]);
      await reach(100);
      await set.switchOver(set.replicas[0] as ReplicatedServers["primary"]);
      await reach(written.size + 200);
      on = false;
      await failed;

      for (const key of KEYS) {
        const rows = await fed.at(key).selectFrom("notes").select("id").execute();
        const there = rows.map(({ id }) => id);
        const wanted = [...written].filter(([, owner]) => owner === key).map(([id]) => id);
        expect(wanted.filter((id) => !there.includes(id))).toEqual([]);
        expect(there.filter((id) => !written.has(id) && !unknown.has(id))).toEqual([]);
      }
      expect(await fed.moves.list()).toEqual([]);
      expect(primaries()).toEqual([second, second, second, second]);
      const lines: string[] = [];
      const printed = vi.spyOn(process.stdout, "write").mockImplementation((line) => {
        lines.push(String(line));
        return true;
      });
      await showStatus(config, false).finally(() => printed.mockRestore());
      for (const name of ["main", "control", "shard 1", "shard 2"]) {
        const line = lines.find((each) => each.startsWith(`${name} `));
        expect(line?.split(/ {2,}/)).toMatchObject({ 2: second, 3: expect.stringMatching(/^yes/) });
      }
    }, 90_000);
  });
}

function urlOfBoth(set: ReplicatedServers, urls: readonly string[]): string {
  const url = new URL(urls[0] as string);
  return url.href.replace(url.host, set.servers.map(({ host, port }) => `${host}:${port}`).join(","));
}
