import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CliFolder } from "./cli-folder.ts";

describe("tesserae lookups", () => {
  let cli: CliFolder;
  beforeEach(() => {
    cli = new CliFolder();
  });
  afterEach(() => cli.remove());

  it("shows, sweeps and rebuilds them", async () => {
    cli.write(
      "tesserae.config.ts",
      `import { bigint, defineSchema, federated } from "tesserae";
const schema = defineSchema({
  key: bigint(),
  tables: { dots: federated("user_id", { id: bigint(), user_id: bigint() }, { lookup: ["id"] }) },
});
export default { schema, main: "sqlite:main.db" };
`,
    );
    expect(await cli.run("schema", "apply")).toMatchObject({ code: 0 });
    const status = await cli.run("lookups", "status", "--json");
    expect(JSON.parse(status.stdout)).toEqual([
      { table: "dots", column: "id", complete: true, reserved: 0, confirmed: 0 },
    ]);
    expect(await cli.run("lookups", "sweep", "--all")).toMatchObject({ code: 0 });
    expect(await cli.run("lookups", "rebuild", "dots")).toMatchObject({
      code: 0,
      stdout: "dots.id: 0 values, 0 of them new\n",
    });
    expect(await cli.run("lookups", "rebuild", "maps")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("LOOKUP_UNKNOWN"),
    });
  });
});
