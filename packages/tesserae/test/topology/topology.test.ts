import { describe, expect, it } from "vitest";
import { isTesseraeError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/index.ts";
import { connectionBudget } from "../../src/topology/budget.ts";
import { shardsFromLists } from "../../src/topology/server-lists.ts";
import { parseTopology, type TopologyInput, type TopologyTarget } from "../../src/topology/topology.ts";

/** `host/database`, as an address. */
function target(text: string): TopologyTarget {
  const [hosts = "", database] = text.split("/");
  const names = hosts.split(",").sort();
  const each = names.map((host) => ({ identity: `mysql://${host}/${database}`, server: `mysql://${host}` }));
  return {
    name: "mysql",
    address: {
      identity: `mysql://${names.join(",")}/${database}`,
      server: `mysql://${names.join(",")}`,
      display: `mysql://app:***@${text}`,
      ...(names.length === 1 ? {} : { hosts: each }),
    },
  };
}

const parse = (input: unknown) => parseTopology(input as TopologyInput<TopologyTarget>, target);

function refusal(input: unknown): { code: ErrorCode; message: string } {
  try {
    parse(input);
  } catch (error) {
    if (isTesseraeError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("was not refused");
}

describe("parseTopology", () => {
  it("lets main play every cluster that is left out", () => {
    const topology = parse({ main: "a/app" });
    expect(topology.poorMans).toEqual({ replicas: true, federation: true, tickets: true });
    expect([...topology.shards.values()].map(({ id, isMain }) => ({ id, isMain }))).toEqual([
      { id: 1, isMain: true },
    ]);
  });

  it("takes all eight combinations of the switches", () => {
    for (const replicas of [true, false]) {
      for (const federation of [true, false]) {
        for (const tickets of [true, false]) {
          const input = {
            main: "a/app",
            ...(replicas ? {} : { replicas: ["b/app"] }),
            ...(federation ? {} : { shards: { 1: "c/users" } }),
            ...(tickets ? {} : { tickets: ["d/tickets"] }),
          };
          const expected = { replicas, federation, tickets };
          expect(parse(input).poorMans).toEqual(expected);
          expect(parse({ ...input, poorMans: expected }).poorMans).toEqual(expected);
        }
      }
    }
  });

  it("orders shards by id, takes a list or a record, and main as one of them", () => {
    const record = parse({
      main: "a/app",
      shards: { 10: "c/ten", 2: { primary: "c/two", replicas: ["d/two"] }, 1: "main" },
    });
    expect([...record.shards.keys()]).toEqual([1, 2, 10]);
    expect(record.shards.get(1)?.isMain).toBe(true);
    expect(record.shards.get(2)?.replicas).toHaveLength(1);
    const list = parse({ main: "a/app", shards: [{ id: 7, primary: "c/seven" }] });
    expect([...list.shards.keys()]).toEqual([7]);
  });

  it.each<[string, unknown, ErrorCode]>([
    ["no main", { shards: { 1: "a/b" } }, "CONFIG_MAIN_MISSING"],
    ["main is null", { main: null }, "CONFIG_MAIN_MISSING"],
    ["main is a number", { main: 3 }, "CONFIG_TARGET_INVALID"],
    ["no shards in the block", { main: "a/app", shards: {} }, "CONFIG_CLUSTER_EMPTY"],
    ["no shards in the list", { main: "a/app", shards: [] }, "CONFIG_CLUSTER_EMPTY"],
    ["no replicas in the list", { main: "a/app", replicas: [] }, "CONFIG_CLUSTER_EMPTY"],
    ["shard 0", { main: "a/app", shards: { 0: "b/users" } }, "CONFIG_SHARD_ID"],
    ["a negative shard", { main: "a/app", shards: [{ id: -1, primary: "b/users" }] }, "CONFIG_SHARD_ID"],
    ["half a shard", { main: "a/app", shards: [{ id: 1.5, primary: "b/users" }] }, "CONFIG_SHARD_ID"],
    ["a named shard", { main: "a/app", shards: { one: "b/users" } }, "CONFIG_SHARD_ID"],
    ["a shard without id", { main: "a/app", shards: [{ primary: "b/users" }] }, "CONFIG_SHARD_ID"],
    [
      "a duplicate id",
      {
        main: "a/app",
        shards: [
          { id: 1, primary: "b/x" },
          { id: 1, primary: "b/y" },
        ],
      },
      "CONFIG_SHARD_DUPLICATE",
    ],
    [
      "a duplicate id as text",
      {
        main: "a/app",
        shards: [
          { id: 1, primary: "b/x" },
          { id: "1", primary: "b/y" },
        ],
      },
      "CONFIG_SHARD_DUPLICATE",
    ],
    [
      "a shard without primary",
      { main: "a/app", shards: { 1: { replicas: ["b/x"] } } },
      "CONFIG_TARGET_INVALID",
    ],
    ["main twice", { main: "a/app", shards: { 1: "main", 2: "a/app" } }, "CONFIG_SHARD_IS_MAIN_TWICE"],
    [
      "two shards on one database",
      { main: "a/app", shards: { 1: "b/users", 2: "b/users" } },
      "CONFIG_SHARD_SAME_DATABASE",
    ],
    ["a replica that is main", { main: "a/app", replicas: ["a/app"] }, "CONFIG_SAME_DATABASE"],
    [
      "a shard's replica that is its primary",
      { main: "a/app", shards: { 1: { primary: "b/x", replicas: ["b/x"] } } },
      "CONFIG_SAME_DATABASE",
    ],
    ["a ticket server twice", { main: "a/app", tickets: ["t/t", "t/t"] }, "CONFIG_SAME_DATABASE"],
    [
      "poor man's federation with shards",
      { main: "a/app", shards: { 1: "b/x" }, poorMans: { federation: true } },
      "CONFIG_CONTRADICTION",
    ],
    [
      "no poor man's federation and no shards",
      { main: "a/app", poorMans: { federation: false } },
      "CONFIG_CONTRADICTION",
    ],
    [
      "poor man's replicas with replicas",
      { main: "a/app", replicas: ["b/x"], poorMans: { replicas: true } },
      "CONFIG_CONTRADICTION",
    ],
    [
      "no poor man's tickets and none",
      { main: "a/app", poorMans: { tickets: false } },
      "CONFIG_CONTRADICTION",
    ],
  ])("refuses %s", (_, input, code) => {
    const { code: seen, message } = refusal(input);
    expect(seen).toBe(code);
    expect(message).toMatch(/[.:]/);
  });
});

describe("shardsFromLists", () => {
  const make = (server: { id: number; host: string; name: string }) => `${server.host}/${server.name}`;

  it("pairs hosts with names", () => {
    expect(shardsFromLists({ hosts: { 1: "a", 2: "b" }, names: { 1: "x", 2: "y" }, target: make })).toEqual({
      1: "a/x",
      2: "b/y",
    });
    expect(shardsFromLists({ hosts: { 1: "a", 2: "b" }, names: "users", target: make })).toEqual({
      1: "a/users",
      2: "b/users",
    });
  });

  it("refuses lists that do not match", () => {
    expect(() => shardsFromLists({ hosts: { 1: "a", 2: "b" }, names: { 1: "x" }, target: make })).toThrow(
      /shard 2/,
    );
    expect(() => shardsFromLists({ hosts: { 1: "a" }, names: { 1: "x", 3: "y" }, target: make })).toThrow(
      /shard 3/,
    );
  });
});

describe("lists of hosts", () => {
  it("are the same database where one host and the database are the same", () => {
    const { shards } = parse({ main: "a,b/app", shards: { 1: "b/app", 2: "b,c/users", 3: "d/app" } });
    expect([...shards.values()].map(({ isMain }) => isMain)).toEqual([true, false, false]);
    expect(refusal({ main: "m/app", shards: { 1: "a,b/users", 2: "c,b/users" } }).code).toBe(
      "CONFIG_SHARD_SAME_DATABASE",
    );
  });

  it("hold their replicas, one by one", () => {
    expect(parse({ main: "a,b/app", replicas: ["a/app", "b/app"] }).replicas).toHaveLength(2);
    expect(refusal({ main: "a,b/app", replicas: ["b/app", "b/app"] }).code).toBe("CONFIG_SAME_DATABASE");
    expect(refusal({ main: "a/app", replicas: ["a/app"] }).code).toBe("CONFIG_SAME_DATABASE");
    for (const input of [
      { main: "a/app", replicas: ["b,c/app"] },
      { main: "a/app", tickets: ["b,c/tickets"] },
    ])
      expect(refusal(input)).toMatchObject({
        code: "CONFIG_TARGET_INVALID",
        message: expect.stringContaining("several hosts"),
      });
  });
});

describe("connectionBudget", () => {
  it("counts a pool on each host that may have it, and what asks beside it", () => {
    const budget = connectionBudget(parse({ main: "a,b/app", shards: { 1: "b/users" } }), {
      processes: 2,
      poolMax: 10,
      controlPoolMax: 4,
      besidePool: () => 1,
      serverMax: undefined,
    });
    expect(budget).toEqual([
      { server: "mysql://a", pools: ["main", "control"], connectionsMax: 32 },
      { server: "mysql://b", pools: ["main", "control", "shard 1"], connectionsMax: 54 },
    ]);
  });

  const topology = parse({ main: "a/app", shards: { 1: "a/users1", 2: "b/users2" } });

  it("counts the pools of each server for all processes", () => {
    const budget = connectionBudget(topology, {
      processes: 3,
      poolMax: 10,
      controlPoolMax: 4,
      serverMax: undefined,
    });
    expect(budget).toEqual([
      { server: "mysql://a", pools: ["main", "control", "shard 1"], connectionsMax: 72 },
      { server: "mysql://b", pools: ["shard 2"], connectionsMax: 30 },
    ]);
  });

  it("refuses a budget beyond what a server grants", () => {
    const act = () =>
      connectionBudget(topology, { processes: 3, poolMax: 10, controlPoolMax: 4, serverMax: 71 });
    expect(act).toThrow(
      expect.objectContaining({ code: "CONFIG_BUDGET", message: expect.stringContaining("72 connections") }),
    );
  });
});
