/** A key's questions to the directory, without one. */
import { expect, test } from "vitest";
import { sqliteDialect } from "../../src/engine/sqlite/dialect.ts";
import type { FederationModel } from "../../src/schema/model.ts";
import { DialectKit } from "../../src/session/dialect-kit.ts";
import { Following } from "../../src/session/following.ts";
import { type FederationRoutes, KeyRoutes, type RouteAnswer } from "../../src/session/key-routes.ts";
import type { Target } from "../../src/session/target.ts";
import type { StatementRunner } from "../../src/session/way.ts";
import { dotsSchema } from "../federation/dots-federation.ts";

const { model } = dotsSchema;
const kit = new DialectKit(sqliteDialect, model, 10);
const frozen: StatementRunner = {
  run: async () => ({
    rows: [{ kind: "p", high: null, epoch: 1n, state: "frozen" }],
    affectedRows: undefined,
    insertId: undefined,
  }),
};

test("strict reads of one key ask the directory one after the other, however they overlap", async () => {
  const asked: ((answer: RouteAnswer) => void)[] = [];
  let open = 0;
  let openMax = 0;
  const refresh = async (): Promise<RouteAnswer> => {
    openMax = Math.max(openMax, ++open);
    const { promise, resolve } = Promise.withResolvers<RouteAnswer>();
    asked.push(resolve);
    const answer = await promise;
    open--;
    return answer;
  };
  const target = { name: "shard 1", kit, place: {}, readiness: { ready: true } } as unknown as Target;
  const shared: FederationRoutes = {
    federation: "default",
    source: { locate: () => ({ shard: 1, epoch: 1n }), refresh },
    show: String,
    toText: String,
    shards: new Map([[1, target]]),
    replicas: new Map(),
    kit,
    following: new Following({
      federation: model.federations.get("default") as FederationModel,
      compare: () => 0,
      consistency: "strict",
    }),
  };
  const reads: Promise<unknown>[] = [];
  for (let round = 1; round <= 12; round++) {
    // Each round reads once more while the question before is still open: each has a session of its own.
    reads.push(new KeyRoutes(shared, 1n).findMoved({ target, epoch: 1n }, frozen));
    await new Promise((resolve) => setImmediate(resolve));
    if (round % 2 === 0) asked.shift()?.({ shard: 1, epoch: 1n });
  }
  const answering = setInterval(() => asked.shift()?.({ shard: 1, epoch: 1n }), 1);
  expect(await Promise.all(reads)).toEqual(reads.map(() => undefined));
  clearInterval(answering);
  expect(openMax).toBe(1);
});
