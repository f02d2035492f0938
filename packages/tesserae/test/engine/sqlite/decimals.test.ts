/** Decimals on SQLite: stored, ordered, summed and averaged exactly. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Database, POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { sqliteCodec } from "../../../src/engine/sqlite/codecs.ts";
import { sqlite } from "../../../src/engine/sqlite/engine.ts";
import { fromWideDecimal, toWideDecimal, wideDecimalText } from "../../../src/engine/sqlite/wide-decimal.ts";

/** Whole units of 10^−scale as a decimal. */
function decimal(units: bigint, scale: number): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  const end = digits.length - scale;
  return `${units < 0n ? "-" : ""}${digits.slice(0, end)}${scale === 0 ? "" : `.${digits.slice(end)}`}`;
}

const unitsUpTo = (digits: number) =>
  fc.bigInt({ min: -(10n ** BigInt(digits)) + 1n, max: 10n ** BigInt(digits) - 1n });
const scaled = (digits: number) =>
  fc.tuple(unitsUpTo(digits), fc.integer({ min: 0, max: Math.min(30, digits) }));

function sign(value: bigint): number {
  return value < 0n ? -1 : value > 0n ? 1 : 0;
}

describe("the text of wide decimals", () => {
  test("gives the decimal back", () => {
    fc.assert(
      fc.property(scaled(38), ([units, scale]) => {
        expect(fromWideDecimal(toWideDecimal(decimal(units, scale)), scale)).toBe(decimal(units, scale));
      }),
    );
  });

  test("sorts as the numbers do, whatever their scales, and is equal when they are", () => {
    fc.assert(
      fc.property(scaled(38), scaled(38), ([a, scaleA], [b, scaleB]) => {
        const [left, right] = [toWideDecimal(decimal(a, scaleA)), toWideDecimal(decimal(b, scaleB))];
        const difference = a * 10n ** BigInt(30 - scaleA) - b * 10n ** BigInt(30 - scaleB);
        expect(left < right ? -1 : left > right ? 1 : 0).toBe(sign(difference));
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    ["123.45", "p03123.45"],
    ["0", "p00"],
    ["0.5", "p00.5"],
    ["-123.45", "n96876.54~"],
    ["-0.5", "n99.4~"],
    ["100", "p03100"],
  ])("of %s is %s", (text, wide) => {
    expect(toWideDecimal(text)).toBe(wide);
  });

  test.each(["", "1.5", "p0", "pxx1", "n031~", "p021.2345"])("does not read %j", (text) => {
    expect(fromWideDecimal(text, 2)).toBeUndefined();
  });
});

describe("the text of a wide decimal in SQL", () => {
  test("is the decimal", async () => {
    const database = sqlite(":memory:").open(POOL_DEFAULTS);
    await fc.assert(
      fc.asyncProperty(scaled(38), async ([units, scale]) => {
        const sql = `select ${wideDecimalText("x", scale)} as text from (select ? as x)`;
        const { rows } = await database.run({ sql, parameters: [toWideDecimal(decimal(units, scale))] });
        expect(rows).toEqual([{ text: decimal(units, scale) }]);
      }),
    );
    await database.close();
  });
});

describe("decimals of at most 15 digits", () => {
  test("survive as binary numbers, and sort as the numbers do", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 15 }), unitsUpTo(15), unitsUpTo(15), (scale, a, b) => {
        const codec = sqliteCodec({ kind: "decimal", precision: 15, scale });
        const [left, right] = [a, b].map((units) => codec.encode(decimal(units, scale)) as number) as [
          number,
          number,
        ];
        expect(codec.decode(left)).toBe(decimal(a, scale));
        expect(Math.sign(left - right)).toBe(sign(a - b));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("sums and averages", () => {
  let database: Database;
  const run = async (sql: string, parameters: readonly unknown[] = []) =>
    (await database.run({ sql, parameters })).rows;
  beforeAll(async () => {
    database = sqlite(":memory:").open(POOL_DEFAULTS);
    await run("create table narrow (id INTEGER primary key, x REAL) strict");
    await run("create table wide (id INTEGER primary key, x TEXT) strict");
  });
  afterAll(() => database.close());

  const exact = (precision: number) =>
    fc.asyncProperty(
      fc.integer({ min: 0, max: 15 }),
      fc.array(unitsUpTo(precision), { minLength: 1, maxLength: 40 }),
      async (scale, units) => {
        const table = precision > 15 ? "wide" : "narrow";
        const codec = sqliteCodec({ kind: "decimal", precision, scale });
        await run(`delete from ${table}`);
        for (const value of units)
          await run(`insert into ${table} (x) values (?)`, [codec.encode(decimal(value, scale))]);
        await run(`insert into ${table} (x) values (null)`);
        const [row] = await run(
          `select tesserae_decimal_sum(x) total, tesserae_decimal_avg(x, ${scale + 4}) mean from ${table}`,
        );
        const sum = units.reduce((a, b) => a + b, 0n);
        expect(sqliteCodec({ kind: "decimal", precision: 38, scale }).decode(row?.["total"])).toBe(
          decimal(sum, scale),
        );
        const count = BigInt(units.length);
        const numerator = (sum < 0n ? -sum : sum) * 10_000n;
        const mean = (2n * numerator + count) / (2n * count);
        expect(sqliteCodec({ kind: "decimal", precision: 38, scale: scale + 4 }).decode(row?.["mean"])).toBe(
          decimal(sum < 0n ? -mean : mean, scale + 4),
        );
      },
    );

  test("are exact over narrow columns", () => fc.assert(exact(15), { numRuns: 60 }));
  test("are exact over wide columns", () => fc.assert(exact(36), { numRuns: 60 }));

  test("are null over nothing, and take DISTINCT, FILTER, HAVING, ORDER BY and OVER", async () => {
    await run("delete from narrow");
    expect(await run("select tesserae_decimal_sum(x) s, tesserae_decimal_avg(x, 2) a from narrow")).toEqual([
      { s: null, a: null },
    ]);
    await run("insert into narrow (id, x) values (1, 0.1), (2, 0.2), (3, 0.2), (4, -5.0)");
    const wide = sqliteCodec({ kind: "decimal", precision: 38, scale: 1 });
    const value = async (sql: string) => wide.decode(Object.values((await run(sql))[0] ?? {})[0]);
    expect(await value("select tesserae_decimal_sum(x) from narrow")).toBe("-4.5");
    expect(await value("select tesserae_decimal_sum(distinct x) from narrow")).toBe("-4.7");
    expect(await value("select tesserae_decimal_sum(x) filter (where x > 0) from narrow")).toBe("0.5");
    const groups = await run(
      "select x from narrow group by x having tesserae_decimal_sum(x) >= ? order by tesserae_decimal_sum(x) desc",
      [wide.encode("0.1")],
    );
    expect(groups).toEqual([{ x: 0.2 }, { x: 0.1 }]);
    const moving = await run(
      "select tesserae_decimal_sum(x) over (order by id rows 1 preceding) s from narrow order by id",
    );
    expect(moving.map((row) => wide.decode(row["s"]))).toEqual(["0.1", "0.3", "0.4", "-4.8"]);
  });

  test("add narrow and wide values of different scales", async () => {
    const rows = await run(
      "select tesserae_decimal_sum(x) s from (select 123456789012345.0 x union all select 0.000000000000001 union all select ?)",
      [toWideDecimal("-0.5")],
    );
    expect(fromWideDecimal(rows[0]?.["s"] as string, 15)).toBe("123456789012344.500000000000001");
  });

  test("refuse what is no decimal", async () => {
    await expect(run("select tesserae_decimal_sum('1.5')")).rejects.toThrow(/takes decimals/);
    await expect(run("select tesserae_decimal_sum(1e300)")).rejects.toThrow(/no decimal/);
  });
});
