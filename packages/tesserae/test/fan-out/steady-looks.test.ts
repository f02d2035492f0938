/** Looks at main without a main: how long one holds, and what becomes of a query beside moves that never rest. */
import { expect, it } from "vitest";
import type { Connection } from "../../src/engine/contract.ts";
import { CaughtUpReplicas } from "../../src/fan-out/steady/caught-up-replicas.ts";
import { LooksAtMain } from "../../src/fan-out/steady/looks-at-main.ts";
import { type MovesSeen, QUIET_MS, type SeenMove } from "../../src/fan-out/steady/moves-seen.ts";
import { SteadyMoves } from "../../src/fan-out/steady/steady-moves.ts";
import type { FederationModel } from "../../src/schema/model.ts";
import type { Target } from "../../src/session/target.ts";
import { notes } from "../session/notes-schema.ts";

const nothing: MovesSeen = { newest: 4n, moves: [] };
const move: SeenMove = { id: 5n, source: 1, target: 2, phase: "source", underWay: true, members: [] };
const begun: MovesSeen = { newest: 5n, moves: [move] };

/** Until a look that was put before is too old. */
const untilOld = async () => {
  const end = performance.now() + QUIET_MS;
  while (performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 2));
};

it("needs no look behind the shards' work for as long as movers keep quiet", async () => {
  let now = nothing;
  const looks = new LooksAtMain({ look: async () => now });
  const before = await looks.look(undefined);
  await untilOld();
  expect(await looks.isQuietSince(before)).toBe(false);
  looks.lookAhead(before);
  now = begun;
  // What has begun behind the look shows nowhere yet.
  expect(await looks.isQuietSince(before)).toBe(true);
  await untilOld();
  expect(await looks.isQuietSince(before)).toBe(false);
  looks.lookAhead(before);
  expect(await looks.isQuietSince(before)).toBe(false);
});

it("ends a query beside moves that cut over in every moment, with no connection left", async () => {
  let newest = 0n;
  let open = 0;
  const connection = {
    begin: async () => {},
    run: async () => ({ rows: [], affectedRows: undefined, insertId: undefined }),
    rollback: async () => {},
    release: () => {
      open -= 1;
    },
  } as unknown as Connection;
  const target = {
    readiness: { ready: true },
    kit: { dialect: { quote: (name: string) => name } },
    database: {
      acquire: async () => {
        open += 1;
        return connection;
      },
    },
  } as unknown as Target;
  const shards = new Map([
    [1, target],
    [2, target],
  ]);
  const steady = new SteadyMoves({
    schema: notes.model,
    federation: notes.model.federations.get("users") as FederationModel,
    shards,
    replicas: new CaughtUpReplicas("users", shards),
    moves: {
      look: async () => {
        newest += 1n;
        return { newest, moves: [{ ...move, id: newest, phase: "settled" }] };
      },
    },
    internals: undefined,
  });
  const statement = { kind: "SelectQueryNode" } as const;
  const asked = [1, 2].map((shard) => ({ shard, target, statement, keys: undefined }));
  const question = { shards: asked, narrowed: false, signal: new AbortController().signal };
  const answer = await steady.begin(question);
  await expect(answer.verdict(new Set())).rejects.toMatchObject({
    code: "FAN_OUT_UNSTEADY",
    retryable: true,
  });
  expect(open).toBe(0);
});
