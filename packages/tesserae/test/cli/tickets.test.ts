import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CliFolder } from "./cli-folder.ts";

describe("tesserae tickets", () => {
  let cli: CliFolder;
  beforeEach(() => {
    cli = new CliFolder();
  });
  afterEach(() => cli.remove());

  const configure = (...tickets: string[]) => {
    const list = tickets.map((name) => `"sqlite:${name}.db"`).join(", ");
    cli.write(
      "tesserae.config.ts",
      `import { bigint, defineSchema, federated } from "tesserae";
const schema = defineSchema({ key: bigint(), tables: { notes: federated("user_id", { id: bigint().ticket(), user_id: bigint() }) } });
export default { schema, main: "sqlite:main.db"${list === "" ? "" : `, tickets: [${list}]`} };
`,
    );
  };
  const json = async (...args: string[]) => JSON.parse((await cli.run(...args, "--json")).stdout);

  it("leads from main to ticket servers, shows them, checks them, and raises a sequence", async () => {
    configure();
    expect(await cli.run("schema", "apply")).toMatchObject({ code: 0 });
    expect((await cli.run("tickets", "take", "notes", "-n", "2")).stdout).toBe("1\n2\n");
    configure("one", "two");
    expect(await cli.run("tickets", "check")).toMatchObject({
      code: 1,
      stdout: expect.stringContaining("tesserae tickets grow"),
    });
    expect(await cli.run("tickets", "grow")).toMatchObject({
      code: 0,
      stdout: "2 ticket servers give the ids (set 1)\n",
    });
    const { servers, generation } = await json("tickets", "status");
    expect(generation).toBe(1);
    expect(servers).toMatchObject([
      { offset: 1, step: 2, state: "open", counters: [{ sequence: "notes", nextId: "3", state: "open" }] },
      { offset: 2, step: 2, state: "open", counters: [{ sequence: "notes", nextId: "4", state: "open" }] },
    ]);
    const raised = await json("tickets", "raise", "notes", "--above", "100");
    expect(raised.servers.map(({ nextId }: { nextId: string }) => nextId)).toEqual(["101", "102"]);
    expect(await cli.run("tickets", "check")).toMatchObject({ code: 0, stdout: "all is well\n" });
    expect(await cli.run("tickets", "recover")).toMatchObject({
      code: 0,
      stdout: "2 ticket servers give the ids, as before (set 1)\n",
    });
    expect(await cli.run("tickets", "grow", "--without", "two.db")).toMatchObject({
      code: 0,
      stdout: "1 ticket server gives the ids (set 2)\n",
    });
    const status = (await cli.run("tickets", "status")).stdout;
    expect(status).toMatch(/one\.db\s+1, 2, 3\s+open/);
    expect(status).toMatch(/two\.db\s+outside/);
    expect((await cli.run("status")).stdout).toMatch(/ticket server 2\s+.*two\.db\s+yes/);
    configure("three");
    expect(await cli.run("tickets", "replace", "three.db")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/three\.db is ticket server 1 of 1 now.*tickets raise/),
    });
    configure();
    expect(await cli.run("tickets", "notes")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("TICKETS_MOVED"),
    });
  }, 180_000);
});
