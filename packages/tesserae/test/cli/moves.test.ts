import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CliFolder } from "./cli-folder.ts";

const SCHEMA = `
  import { bigint, defineSchema, federated, text } from "tesserae";
  export const schema = defineSchema({
    key: bigint(),
    tables: { notes: federated("user_id", { id: bigint(), user_id: bigint(), body: text(200) }) },
  });
`;
const CONFIG = `
  import { sqlite } from "tesserae";
  import { schema } from "./schema.ts";
  export default { schema, main: sqlite("main.db"), shards: { 1: sqlite("one.db"), 2: sqlite("two.db") }, directory: { leaseMs: 100 } };
`;
/** Fills a key with so many rows, or counts what it has: `data.mjs 12 fill 100`, `data.mjs 12 count`; `data.mjs range` makes one. */
const DATA = `
  import { federate } from "tesserae";
  import config from "./tesserae.config.ts";
  const fed = await federate(config);
  const [first, what, count] = process.argv.slice(2);
  if (first === "range") await fed.tenants.addRange({ low: 1000n, high: 2000n }, { shard: 1 });
  else if (what === "fill") {
    const ids = Array.from({ length: Number(count) }, (_, index) => BigInt(index + 1));
    for (let start = 0; start < ids.length; start += 500)
      await fed.at(BigInt(first)).insertInto("notes").values(ids.slice(start, start + 500).map((id) => ({ id, body: "note " + id }))).execute();
  } else {
    const rows = await fed.at(BigInt(first)).selectFrom("notes").select("id").execute();
    console.log(new Set(rows.map(({ id }) => id)).size);
  }
  await fed.close();
`;

interface Report {
  readonly moves: readonly {
    readonly id: string;
    readonly what: string;
    readonly state: string;
    readonly to: number;
  }[];
  readonly left: boolean;
}

describe("tesserae move", { timeout: 120_000 }, () => {
  let cli: CliFolder;

  beforeEach(async () => {
    cli = new CliFolder();
    cli.write("schema.ts", SCHEMA);
    cli.write("tesserae.config.ts", CONFIG);
    cli.write("data.mjs", DATA);
    expect(await cli.run("schema", "apply")).toMatchObject({ code: 0 });
  });
  afterEach(() => cli.remove());

  const run: CliFolder["run"] = (...args) => cli.run(...args);
  const data = async (...args: string[]) => {
    const { code, stdout, stderr } = await cli.startProgram("data.mjs", ...args).ended;
    expect([code, stderr]).toEqual([0, ""]);
    return stdout.trim();
  };
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args, "--json");
    expect([code, stderr]).toEqual([0, ""]);
    return JSON.parse(stdout) as unknown;
  };

  async function addKey(key: number, rows: number): Promise<void> {
    await run("tenant", "add", String(key), "--shard", "1");
    if (rows > 0) await data(String(key), "fill", String(rows));
  }

  it("moves keys, step by step, and says how it went", async () => {
    await addKey(12, 40);
    await addKey(13, 2);
    const moved = await run("move", "12", "13", "--to", "2", "--grace", "100");
    expect(moved).toMatchObject({ code: 0, stderr: "" });
    expect(moved.stdout).toMatch(
      /2 keys from 12 to 13, shard 1 → 2: copy\b[\s\S]*: verify\b[\s\S]*: freeze\n[\s\S]*: arrive\n[\s\S]*: done, 42 rows in [\d.]+ s; its writes waited \d+ ms\n$/,
    );
    expect((await run("tenant", "where", "12")).stdout).toBe("12 lives on shard 2 (epoch 2, active)\n");
    expect(await data("12", "count")).toBe("40");
    expect((await run("moves", "list")).stdout).toBe("no moves\n");
    expect((await run("moves", "list", "--all")).stdout).toMatch(
      /2 keys from 12 to 13\s+1\s+2\s+done\s+done\s+42/,
    );
    // Moving back undoes it.
    const back = (await json("move", "12", "--to", "1", "--grace", "100")) as Report;
    expect(back).toMatchObject({
      left: false,
      moves: [{ what: "key 12", key: "12", state: "done", to: 1, rowsCopied: 40 }],
    });
    expect(await data("12", "count")).toBe("40");
  });

  it("cuts, joins and moves ranges, gives a key a place of its own, and empties a shard", async () => {
    await data("range");
    await data("1100", "fill", "3");
    expect(await run("split", "--at", "1500")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("the range from 1500 to 2000, shard 1: done"),
    });
    expect(await json("move", "1500..", "--to", "2", "--grace", "100")).toMatchObject({
      moves: [{ what: "the range from 1500 to 2000", state: "done", to: 2 }],
    });
    expect((await run("tenant", "where", "1500")).stdout).toContain("shard 2");
    expect(await json("merge", "--at", "1500", "--grace", "100")).toMatchObject({
      moves: [{ kind: "merge", state: "done", to: 1 }],
    });
    expect((await run("tenant", "where", "1500")).stdout).toContain("shard 1");
    expect(await run("isolate", "1100")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("key 1100, shard 1: done"),
    });
    expect((await run("isolate", "1100")).stdout).toBe("there was nothing to do\n");
    const drained = (await json("drain", "1", "--grace", "100")) as Report;
    expect(drained.moves.map(({ what, to }) => [what, to])).toEqual([
      ["the range from 1000 to 2000", 2],
      ["key 1100", 2],
    ]);
    expect(await data("1100", "count")).toBe("3");
    // A shard that is being emptied takes no new keys, until somebody says so.
    const added = async (key: string) => ((await json("tenant", "add", key)) as { shard: number }).shard;
    expect(await added("1")).toBe(2);
    expect(await run("reopen", "1")).toMatchObject({ code: 0, stdout: "shard 1 takes new keys again\n" });
    expect(await added("2")).toBe(1);
    expect(await run("drain", "1", "--to", "1")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("MOVE_SAME_SHARD"),
    });
    // What was refused has not closed the shard: it has the fewest keys.
    expect(await added("3")).toBe(1);
  });

  it("refuses before anything is written, with the error's code", async () => {
    await addKey(12, 0);
    const refused = async (code: number, error: string, ...args: string[]) =>
      expect([args, await run(...args)]).toMatchObject([
        args,
        { code, stdout: "", stderr: expect.stringContaining(error) },
      ]);
    await refused(1, "MOVE_SAME_SHARD", "move", "12", "--to", "1");
    await refused(1, "SHARD_UNKNOWN", "move", "12", "--to", "7");
    await refused(1, "KEY_UNKNOWN", "move", "99", "--to", "2");
    await refused(1, "RANGE_UNKNOWN", "move", "5..9", "--to", "2");
    await refused(1, "RANGE_UNKNOWN", "split", "--at", "5");
    await refused(1, "VALUE_INVALID", "move", "12", "--to", "2", "--hours", "3-x");
    await refused(1, "MOVE_UNKNOWN", "moves", "watch", "99");
    await refused(1, "FEDERATION_UNKNOWN", "move", "12", "--to", "2", "--federation", "blogs");
    await refused(2, "--to", "move", "12");
    await refused(2, "number of a move", "moves", "pause", "x");
    await refused(2, "whole number", "move", "12", "--to", "2", "--rows-per-second", "0");
    expect(await json("moves", "list", "--all")).toEqual({ moves: [] });
  });

  it("leaves a move by Ctrl-C, and goes on with it", async () => {
    await addKey(12, 2_000);
    const moving = cli.start("move", "12", "--to", "2", "--rows-per-second", "500", "--grace", "100");
    await moving.saw(": copy");
    moving.child.kill("SIGINT");
    const left = await moving.ended;
    expect([left.code, left.stderr]).toEqual([130, ""]);
    const [, id] =
      /move (\d+), key 12, shard 1 → 2 stands still at "copy".*:\n {2}tesserae moves resume (\d+)\n$/.exec(
        left.stdout,
      ) ?? [];
    expect((await run("moves", "list")).stdout).toMatch(new RegExp(`^${id} .*copy +stopped`, "m"));
    expect((await run("tenant", "where", "12")).stdout).toContain("shard 1 (epoch 1, moving)");
    expect(await run("move", "12", "--to", "2")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("MOVE_UNDER_WAY"),
    });
    // Its pace is part of the move: this takes a while, and another process can follow it.
    const resumed = cli.start("moves", "resume");
    await resumed.saw(": copy");
    const watched = await run("moves", "watch", id as string, "--json");
    expect(watched.code).toBe(0);
    const lines = watched.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Report["moves"][number]);
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.at(-1)).toMatchObject({
      id,
      state: "done",
      rowsTotal: 2_000,
      rowsCopied: 2_000,
      rowsVerified: 2_000,
    });
    expect(await resumed.ended).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("done, 2,000 rows"),
    });
    expect(await data("12", "count")).toBe("2000");
  });

  it("pauses and aborts a move that another process runs", async () => {
    await addKey(12, 2_000);
    const moving = cli.start("move", "12", "--to", "2", "--rows-per-second", "500");
    await moving.saw(": copy");
    const id = ((await json("moves", "list")) as Report).moves[0]?.id as string;
    expect(await run("moves", "pause", id)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/: copy, paused\n$/),
    });
    const paused = await moving.ended;
    expect(paused).toMatchObject({ code: 1, stderr: expect.stringContaining("MOVE_PAUSED") });
    expect(paused.stderr).toContain(`tesserae moves resume ${id}\n`);
    // All that nobody runs: not what somebody paused.
    expect(await json("moves", "resume")).toEqual({ moves: [], left: false });
    expect(await run("moves", "abort", id)).toMatchObject({
      code: 0,
      stdout: `move ${id}, key 12, shard 1 → 2: aborted, everything is served by shard 1\n`,
    });
    expect((await run("tenant", "where", "12")).stdout).toContain("shard 1 (epoch 1, active)");
    expect(await run("moves", "abort", id)).toMatchObject({ code: 0 });
  });
});
