/** Random writes of several keys, some cut off, one after the other and at once, held against what the rows say. */
import { forEachEngine } from "@tesserae/test-support";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LOOKUP_POINTS, type LookupPoint } from "../../src/session/lookup-writer.ts";
import { type LookupSite, openLookupSite } from "./lookup-site.ts";

const RUNS = Number(process.env["TESSERAE_TEST_RUNS"] ?? 15);
const KEYS = [1n, 2n, 3n];

const key = fc.constantFrom(...KEYS);
const email = fc.integer({ min: 0, max: 3 });
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("insert" as const), key, email }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("update" as const), key, from: email, email }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("delete" as const), key, email }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("roll back" as const), key, email }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("fail" as const),
      key,
      email,
      point: fc.constantFrom(...LOOKUP_POINTS),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("sweep" as const), all: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove and add" as const), key }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

forEachEngine((engine) => {
  describe(`random writes with lookups on ${engine.name}`, () => {
    let site: LookupSite;
    let failAt: LookupPoint | undefined;
    let ids = 0n;
    let runs = 0;

    beforeAll(async () => {
      site = await openLookupSite(engine, 2, {
        waitMs: 300,
        at(point) {
          if (point === failAt) throw new Error("cut off");
        },
      });
    });

    afterAll(async () => {
      await site?.[Symbol.asyncDispose]();
    });

    async function run(given: Operation, nameOf: (email: number) => string): Promise<string> {
      const { fed } = site;
      const work = async () => {
        switch (given.do) {
          case "sweep":
            return fed.lookups.sweep({ olderThanMs: -60_000, all: given.all });
          case "remove and add":
            await fed.tenants.remove(given.key, { rows: "delete" });
            return fed.tenants.add(given.key);
          case "delete":
            return fed.at(given.key).deleteFrom("people").where("email", "=", nameOf(given.email)).execute();
          case "update":
            return fed
              .at(given.key)
              .updateTable("people")
              .set({ email: nameOf(given.email) })
              .where("email", "=", nameOf(given.from))
              .execute();
          case "roll back":
            return fed
              .at(given.key)
              .transaction()
              .execute(async (tx) => {
                await tx
                  .insertInto("people")
                  .values({ id: ++ids, email: nameOf(given.email) })
                  .execute();
                throw new Error("rolled back");
              });
          default:
            failAt = given.do === "fail" ? given.point : undefined;
            return fed
              .at(given.key)
              .insertInto("people")
              .values({ id: ++ids, email: nameOf(given.email) })
              .execute();
        }
      };
      return work()
        .then(
          () => "done",
          (error: { code?: string; message: string }) => error.code ?? error.message,
        )
        .finally(() => {
          failAt = undefined;
        });
    }

    /** Who has which e-mail. */
    async function read(nameOf: (email: number) => string): Promise<Map<string, bigint[]>> {
      const owners = new Map<string, bigint[]>();
      for (const owner of KEYS) {
        const rows = await site.fed.at(owner).selectFrom("people").select("email").execute();
        for (const { email: name } of rows) {
          if (name?.startsWith(nameOf(0).slice(0, -1)))
            owners.set(name, [...(owners.get(name) ?? []), owner]);
        }
      }
      return owners;
    }

    const naming = () => {
      runs++;
      return (number: number) => `${runs}-${number}`;
    };

    test("one after the other: exactly what is in use is refused", async () => {
      const property = fc.asyncProperty(
        fc.array(operation, { minLength: 4, maxLength: 12 }),
        async (given) => {
          const nameOf = naming();
          const owners = new Map<string, bigint>();
          for (const one of given) {
            const outcome = await run(one, nameOf);
            if (one.do === "sweep" || one.do === "remove and add") expect(outcome).toBe("done");
            if (one.do === "remove and add")
              for (const [name, owner] of owners) if (owner === one.key) owners.delete(name);
            if (!("email" in one)) continue;
            const name = nameOf(one.email);
            const inUse = owners.has(name);
            if (one.do === "insert") {
              expect(outcome).toBe(inUse ? "CONSTRAINT_UNIQUE" : "done");
              owners.set(name, owners.get(name) ?? one.key);
            } else if (one.do === "delete") {
              if (owners.get(name) === one.key) owners.delete(name);
            } else if (one.do === "update" && owners.get(nameOf(one.from)) === one.key) {
              expect(outcome).toBe(inUse && one.email !== one.from ? "CONSTRAINT_UNIQUE" : "done");
              if (outcome === "done") {
                owners.delete(nameOf(one.from));
                owners.set(name, one.key);
              }
            } else if (one.do === "fail" && outcome === "done") owners.set(name, one.key);
          }
          expect(await read(nameOf)).toEqual(new Map([...owners].map(([name, owner]) => [name, [owner]])));
          for (let number = 0; number < 4; number++) {
            const found = await site.fed.find("people", { email: nameOf(number) });
            expect(found?.user_id).toBe(owners.get(nameOf(number)));
          }
        },
      );
      await fc.assert(property, { numRuns: RUNS });
    });

    test("at once: no two keys have the same, and what nobody has can be had", async () => {
      const alone = fc.array(operation, { minLength: 2, maxLength: 4 });
      const property = fc.asyncProperty(fc.array(alone, { minLength: 2, maxLength: 4 }), async (groups) => {
        const nameOf = naming();
        for (const group of groups)
          await Promise.all(
            group.filter((one) => one.do !== "remove and add").map((one) => run(one, nameOf)),
          );
        const owners = await read(nameOf);
        for (const [name, found] of owners) expect([name, found]).toEqual([name, found.slice(0, 1)]);
        for (let number = 0; number < 4; number++) {
          const outcome = await run({ do: "insert", key: 1n, email: number }, nameOf);
          expect(outcome).toBe(owners.has(nameOf(number)) ? "CONSTRAINT_UNIQUE" : "done");
        }
      });
      await fc.assert(property, { numRuns: RUNS });
    });
  });
});
