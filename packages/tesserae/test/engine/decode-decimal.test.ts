/** Averages come with as many fraction digits as an engine thinks right; what is read has those of its type. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, it } from "vitest";
import { decodeDecimal } from "../../src/engine/value-checks.ts";
import { bigint, decimal, defineSchema, federate, global, int } from "../../src/index.ts";

describe("a decimal's fraction digits", () => {
  it.each([
    ["1.3333333333333333", 6, "1.333333"],
    ["1.66666666", 4, "1.6667"],
    ["-1.66666666", 4, "-1.6667"],
    ["9.995", 2, "10.00"],
    ["-0.004", 2, "0.00"],
    ["0.5", 0, "1"],
    ["-12.4", 0, "-12"],
    ["12", 2, "12.00"],
    ["12.5", 3, "12.500"],
    ["99999999999999999999999999999999.999999999", 6, "100000000000000000000000000000000.000000"],
  ])("%s with %i are %s", (text, scale, expected) => {
    expect(decodeDecimal(text, scale)).toBe(expected);
  });
});

const schema = defineSchema({
  key: bigint(),
  tables: { prices: global({ id: bigint(), price: decimal(9, 2), pieces: int() }) },
});

forEachEngine((engine) => {
  describe(`averages on ${engine.name}`, () => {
    it("are the same on every engine", async () => {
      await using databases = await engine.databases(1);
      const fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      const rows = ["1", "1", "2"].map((price, index) => ({ id: BigInt(index), price, pieces: index }));
      await fed.main.insertInto("prices").values(rows).execute();
      const { price, pieces, sum } = await fed.main
        .selectFrom("prices")
        .select((eb) => [
          eb.fn.avg<string>("price").as("price"),
          eb.fn.avg<string>("pieces").as("pieces"),
          eb.fn.sum<string>("price").as("sum"),
        ])
        .executeTakeFirstOrThrow();
      expect({ price, pieces, sum }).toEqual({ price: "1.333333", pieces: "1.0000", sum: "4.00" });
      await fed.close();
    });
  });
});
