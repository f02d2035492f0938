import { expect, test } from "vitest";
import { type FederationConfig, federate, sqlite } from "../../src/index.ts";
import { countedSchema } from "./counted-schema.ts";

type Ticketing = NonNullable<FederationConfig["ticketing"]>;
const open = (ticketing: Ticketing) =>
  federate({ schema: countedSchema, main: sqlite(":memory:"), ticketing });

test("ticketing options that make no sense are refused by name", async () => {
  for (const [ticketing, message] of [
    [{ blockId: 5 } as Ticketing, '"blockId"'],
    [{ mode: "block" as never }, "ticketing.mode"],
    [{ blockIds: 0 }, "ticketing.blockIds"],
    [{ blockIds: 50, blockIdsMax: 49 }, "from 50 to 1000000"],
    [{ blockIdsMax: 1_000_001 }, "ticketing.blockIdsMax"],
    [{ sequences: { users: { mode: "one" as never } } }, "ticketing.sequences.users.mode"],
    [{ sequences: { users: { max: 2n ** 31n } } }, '"users"'],
  ] as const)
    await expect(open(ticketing)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining(message),
    });
  await (await open({ mode: "single", blockIds: 50, blockIdsMax: 50 })).close();
});

test("a federation that was closed gives no more ids of any kind", async () => {
  const fed = await open({});
  await fed.schema.apply();
  await Promise.all([fed.ids.next("dots"), fed.ids.next("links"), fed.ids.next("invoices")]);
  await fed.close();
  const closed = { code: "CLOSED" };
  for (const table of ["dots", "links", "invoices", "users"] as const) {
    await expect(fed.ids.next(table)).rejects.toMatchObject(closed);
    await expect(fed.ids.take(table, 2)).rejects.toMatchObject(closed);
  }
  await expect(fed.tickets.next("dots")).rejects.toMatchObject(closed);
});
