import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { readable, Visitor } from "./visitor.ts";

const entry = fileURLToPath(new URL("../src/server.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "dotspotting-"));
const running = new Set<ChildProcess>();

afterEach(() => {
  for (const child of running) child.kill("SIGKILL");
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Starts the application as `npm start` does, and gives its address as soon as it is printed. */
function start(environment: Record<string, string>): {
  address: Promise<string>;
  ended: Promise<Ended>;
  child: ChildProcess;
} {
  const child = spawn(
    process.execPath,
    ["--conditions=tesserae-source", "--disable-warning=ExperimentalWarning", entry],
    {
      env: { PATH: process.env["PATH"], DOTSPOTTING_DATA: folder, PORT: "0", ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  running.add(child);
  let output = "";
  let found: (address: string) => void;
  let failed: (error: Error) => void;
  const address = new Promise<string>((resolve, reject) => {
    found = resolve;
    failed = reject;
  });
  address.catch(() => undefined);
  const take = (piece: Buffer) => {
    output += piece;
    const printed = /http:\/\/localhost:\d+/.exec(output);
    if (printed) found(printed[0]);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => {
      running.delete(child);
      failed(new Error(output));
      resolve({ code, output });
    });
  });
  return { address, ended, child };
}

describe("the server", { timeout: 60_000 }, () => {
  it("makes its data with samples, stops cleanly, and finds its data again", async () => {
    const first = start({});
    const visitor = new Visitor(await first.address);
    expect(readable((await visitor.get("/")).text)).toMatch(
      /85 dots by sampler.*150 dots by sampler.*308 dots by sampler/,
    );
    expect((await visitor.signUp("keeper")).status).toBe(303);
    const sheet = (await visitor.upload("a.csv", "lat,lon,name\n1,2,a\n")).location;
    first.child.kill("SIGTERM");
    const { code, output } = await first.ended;
    expect([code, output]).toEqual([
      0,
      expect.stringMatching(/Imported the sample data\.\nDotspotting: http.*\nSIGTERM: stopping\.\n$/),
    ]);
    expect(statSync(join(folder, "secret")).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(folder, "secret"), "utf8").length).toBeGreaterThan(40);

    const second = start({});
    const again = new Visitor(await second.address);
    again.cookies.set("dotspotting", visitor.cookies.get("dotspotting")!);
    expect(readable((await again.get(sheet)).text)).toContain("1 dot by keeper");
    expect(readable((await again.get("/")).text)).toContain("Log out");
    second.child.kill("SIGINT");
    const end = await second.ended;
    expect([end.code, end.output]).toEqual([0, expect.not.stringContaining("sample")]);
  });

  it("lets a request that is under way finish", async () => {
    const { address, ended, child } = start({});
    const visitor = new Visitor(await address);
    await visitor.signUp("last-minute");
    const rows = Array.from({ length: 5_000 }, (_, row) => `${row % 90},${row % 180}`).join("\n");
    const answer = visitor.upload("rows.csv", `lat,lon\n${rows}\n`);
    await expect.poll(async () => readable((await visitor.get("/u/last-minute")).text)).toContain("1 sheet,");
    child.kill("SIGTERM");
    expect((await answer).status).toBe(303);
    expect((await ended).code).toBe(0);
  });

  it("goes on with a move that it left when it was stopped", async () => {
    const at = (name: string) => `sqlite:${join(folder, name)}`;
    const environment = {
      DOTSPOTTING_FEDERATION: JSON.stringify({
        main: at("main.db"),
        shards: { 1: at("one.db"), 2: at("two.db") },
        directory: { leaseMs: 200 },
      }),
      DOTSPOTTING_SAMPLE: "0",
      DOTSPOTTING_OPERATORS: "grace, Keeper",
    };
    const first = start(environment);
    const visitor = new Visitor(await first.address);
    await visitor.signUp("keeper");
    const rows = Array.from({ length: 300 }, (_, row) => `${row % 90},${row % 180}`).join("\n");
    const sheet = (await visitor.upload("rows.csv", `lat,lon\n${rows}\n`)).location;
    const move = { user: "keeper", to: "2", pace: "100" };
    expect((await visitor.submit("/operator", "/operator/moves", move)).status).toBe(303);
    await expect.poll(async () => (await visitor.get("/operator/moves.json")).text).toContain("Copies dots");
    first.child.kill("SIGTERM");
    expect(await first.ended).toEqual({ code: 0, output: expect.not.stringContaining("stopped") });

    const second = start(environment);
    const again = new Visitor(await second.address);
    again.cookies.set("dotspotting", visitor.cookies.get("dotspotting")!);
    const page = async () => readable((await again.get("/operator")).text);
    await expect.poll(page, { timeout: 30_000 }).toMatch(/keeper 1 → 2 just now 601 \d+ ms Done Undo/);
    expect(readable((await again.get(sheet)).text)).toContain("300 dots by keeper");
    second.child.kill("SIGTERM");
    expect((await second.ended).code).toBe(0);
  });

  it.each([
    [{ PORT: "x" }, /PORT is "x"; it must be a whole number from 0 to 65535/],
    [{ DOTSPOTTING_SECRET: "short" }, /DOTSPOTTING_SECRET must have at least 32 characters/],
    [{ DOTSPOTTING_FEDERATION: "mysql://app:hidden@db/x" }, /DOTSPOTTING_FEDERATION is not JSON/],
    [{ DOTSPOTTING_FEDERATION: '{"main":"http://app:hidden@db/x"}' }, /is no database URL/],
  ])("says what is wrong with %j", async (environment, message) => {
    const { code, output } = await start(environment).ended;
    expect([code, output]).toEqual([1, expect.stringMatching(message)]);
    expect(output).not.toContain("hidden");
    expect(output).not.toMatch(/^\s+at /m);
  });

  it("says so when its port is taken", async () => {
    const first = start({});
    const { port } = new URL(await first.address);
    const { code, output } = await start({ PORT: port }).ended;
    expect([code, output]).toEqual([
      1,
      expect.stringMatching(`^Port ${port} is in use already. Choose another one`),
    ]);
  });
});
