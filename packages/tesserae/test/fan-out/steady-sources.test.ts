/**
 * The condition on the key, on random queries: with the second tenant's rows left out on each source, a database of two tenants answers as one that holds the first one's
 * alone. On the engines the text of the conditions is run as well, ranges with points of their own among them.
 */
import type { DatabaseSync } from "node:sqlite";
import { forEachEngine } from "@tesserae/test-support";
import fc from "fast-check";
import type { QueryId, SelectQueryNode } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import {
  type DoubtfulKeys,
  inKeys,
  type KeyCondition,
  ownRows,
} from "../../src/fan-out/steady/key-conditions.ts";
import { keyedSources } from "../../src/fan-out/steady/keyed-sources.ts";
import { bigint, defineSchema, federate, federated, text, uuid } from "../../src/index.ts";
import { DialectKit } from "../../src/session/dialect-kit.ts";
import { engineAt } from "../engine/open-database.ts";
import { notes } from "../session/notes-schema.ts";
import { type Built, compile, offline } from "../session/offline-kysely.ts";
import { type Features, RandomQuery } from "../session/random-query.ts";
import { openNotes, run } from "../session/two-databases.ts";

const SQLITE: Features = {
  joins: ["innerJoin", "leftJoin", "rightJoin", "fullJoin", "crossJoin"],
  lateral: false,
  intersect: true,
  upsert: "on conflict",
  insertOrReplace: true,
  updateFrom: true,
  deleteUsing: undefined,
  returning: { insert: true, update: true, delete: true },
  selfReference: true,
  withBeforeWrites: true,
  correlatedDerived: true,
};

const seed = Number(process.env["TESSERAE_TEST_SEED"] ?? Date.now() & 0x7fffffff);
const runs = Number(process.env["TESSERAE_TEST_RUNS"] ?? 150);
const options = { schema: notes.model, federation: { name: "users" } };

describe("the condition on the key of every source", () => {
  let both: DatabaseSync;
  let own: DatabaseSync;

  beforeAll(() => {
    both = openNotes([1, 2], false);
    own = openNotes([1], true);
    both.exec(
      'create table "tesserae_residence_users" (kind text, low integer, high integer, state text, primary key (kind, low))',
    );
    // Tenant 2's rows are what a move of the range has left behind; tenant 1 had a point of its own, and stays.
    both.exec(
      `insert into "tesserae_residence_users" values ('p', 1, null, 'leaving'), ('r', 0, 10, 'gone')`,
    );
  });
  afterAll(() => {
    both.close();
    own.close();
  });

  const numbers = fc.array(fc.nat(1000), { minLength: 10, maxLength: 160, size: "max" });
  const conditions: Readonly<Record<string, KeyCondition>> = {
    "its keys alone": inKeys([1n]),
    "several keys": inKeys([1n, 5n, 7n]),
    "what a key's residence says": doubtful({ asked: [point(2n)] }),
    "what some keys' residences say": doubtful({ asked: [point(7n), point(2n), point(1n)] }),
    "what a range's residences say": doubtful({ asked: [range(0n, 10n)] }),
    "what residences say beside a range without end": doubtful({ asked: [range(1n, null), point(9n)] }),
    "without a key": doubtful({ foreign: [point(2n), point(3n)] }),
    "without a range": doubtful({ foreign: [range(0n, 10n)], asked: [point(5n)] }),
    "a key that is its own by now": doubtful({ owned: [point(1n)], foreign: [range(2n, 3n)] }),
  };
  for (const [name, condition] of Object.entries(conditions)) {
    it(`shows ${name}, wherever a query reads`, () => {
      console.info(`seed ${seed}, ${runs} runs (TESSERAE_TEST_SEED and TESSERAE_TEST_RUNS repeat them)`);
      const met = { rows: 0, failed: 0 };
      fc.assert(
        fc.property(numbers, (draws) => {
          const built: Built = new RandomQuery(offline, draws, SQLITE).select();
          const node = built.toOperationNode() as SelectQueryNode;
          const keyed = keyedSources(node, options, condition);
          const seen = run(both, keyed);
          const expected = run(own, node);
          met.rows += expected.rows?.length ?? 0;
          met.failed += expected.error === undefined ? 0 : 1;
          expect({ failed: seen.error !== undefined, rows: seen.rows }, compile("sqlite", keyed).sql).toEqual(
            {
              failed: expected.error !== undefined,
              rows: expected.rows,
            },
          );
        }),
        { seed, numRuns: runs },
      );
      expect(met.failed).toBeLessThan(runs / 4);
      expect(met.rows).toBeGreaterThan(runs);
    });
  }

  it("takes a query that has a condition already, and leaves other tables alone", () => {
    const dots = offline.selectFrom("dots as d").innerJoin("themes as t", "t.id", "d.id").select("d.id");
    const node = dots.toOperationNode() as SelectQueryNode;
    const once = keyedSources(node, options, doubtful({ asked: [range(0n, 10n)] }));
    const twice = keyedSources(once, options, inKeys([1n, 2n]));
    expect(run(both, twice)).toEqual(run(own, node));
    expect(run(both, twice).rows).not.toEqual([]);
    const themes = offline.selectFrom("themes").selectAll().toOperationNode() as SelectQueryNode;
    expect(keyedSources(themes, options, inKeys([1n]))).toBe(themes);
  });

  it("leaves the other federation's tables alone, and no key is no row", () => {
    const posts = offline.selectFrom("posts").selectAll().toOperationNode() as SelectQueryNode;
    expect(keyedSources(posts, options, inKeys([]))).toBe(posts);
    const dots = offline.selectFrom("dots").selectAll().toOperationNode() as SelectQueryNode;
    expect(run(both, keyedSources(dots, options, inKeys([]))).rows).toEqual([]);
  });
});

const KINDS = {
  bigint: { column: bigint(), keys: [-5n, 3n, 2n ** 53n + 1n, 2n ** 62n] },
  text: { column: text(40), keys: ["", "Zoe", "a ", "ß"] },
  uuid: {
    column: uuid(),
    keys: [1, 2, 3, 4].map((n) => `${n}e8f1c2a-0000-7000-8000-00000000000${n}`),
  },
} as const;

forEachEngine((engine) => {
  describe(`conditions on the key on ${engine.name}`, () => {
    for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
      it(`compares keys of type ${kind} as that type`, async () => {
        const { column, keys } = KINDS[kind] as {
          column: typeof KINDS.bigint.column;
          keys: readonly bigint[];
        };
        const [first, second, third, fourth] = keys as [bigint, bigint, bigint, bigint];
        const schema = defineSchema({
          key: column,
          tables: { dots: federated("owner", { id: bigint(), owner: column }) },
        });
        await using databases = await engine.databases(1);
        const url = databases.urls[0] as string;
        const fed = await federate({ schema, main: url });
        await fed.schema.apply();
        for (const key of [first, second, fourth]) await fed.tenants.add(key);
        for (const key of [first, second, fourth])
          await fed.at(key).insertInto("dots").values({ id: 1n }).execute();
        await fed.tenants.addRange({ low: third, high: fourth }, { shard: 1 });
        await fed.at(third).insertInto("dots").values({ id: 1n }).execute();
        await fed.close();

        const database = (await engineAt(url)).open(POOL_DEFAULTS);
        try {
          const kit = new DialectKit(database.engine.dialect, schema.model, 100);
          const node = offline.selectFrom("dots").select("owner").orderBy("owner").toOperationNode();
          const owners = async (condition: KeyCondition) => {
            const federation = { name: "default" };
            const keyed = keyedSources(
              node as SelectQueryNode,
              { schema: schema.model, federation },
              condition,
            );
            const { sql, parameters, plan } = kit.compile(keyed, {} as QueryId);
            const { rows } = await database.run(plan.statement(sql, parameters));
            return plan.decode(rows).map(({ owner }) => owner);
          };
          expect(await owners(inKeys([second, third]))).toEqual([second, third]);
          expect(await owners(inKeys([fourth]))).toEqual([fourth]);
          const own = (keys: Partial<DoubtfulKeys>) => owners(doubtful(keys, "default"));
          expect(await own({ foreign: [point(second), point(fourth)] })).toEqual([first, third]);
          // The third key is in the range; the second has a point of its own, and the fourth is its end.
          expect(await own({ foreign: [range(second, fourth)] })).toEqual([first, second, fourth]);
          expect(await own({ asked: [range(first, null), point(second)] })).toEqual([...keys]);
          const residences = `update tesserae_residence_default set state`;
          await database.run({ sql: `${residences} = 'gone' where kind = 'r'`, parameters: [] });
          await database.run({ sql: `${residences} = 'frozen' where kind = 'p'`, parameters: [] });
          expect(await own({ asked: [range(first, null), point(second)] })).toEqual([first, second, fourth]);
          expect(await own({ owned: [range(second, null)], foreign: [point(first)] })).toEqual([
            second,
            third,
            fourth,
          ]);
          await database.run({ sql: `${residences} = 'arriving' where kind = 'p'`, parameters: [] });
          expect(await own({ asked: [point(second), point(third)], owned: [point(fourth)] })).toEqual([
            first,
            fourth,
          ]);
        } finally {
          await database.close();
        }
      });
    }
  });
});

function doubtful(keys: Partial<DoubtfulKeys>, federation = "users"): KeyCondition {
  return ownRows({ federation, asked: [], owned: [], foreign: [], ...keys });
}

function point(key: bigint | string) {
  return { kind: "p" as const, low: key, high: null };
}

function range(low: bigint | string, high: bigint | string | null) {
  return { kind: "r" as const, low, high };
}
