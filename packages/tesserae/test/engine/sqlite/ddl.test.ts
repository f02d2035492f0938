/** How SQLite keeps tables, and what it refuses at a plain SQL prompt too. */
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { sqliteDialect } from "../../../src/engine/sqlite/dialect.ts";
import {
  bigint,
  boolean,
  bytes,
  type Column,
  date,
  decimal,
  double,
  int,
  json,
  text,
  timestamp,
  uuid,
} from "../../../src/schema/column.ts";
import { defineSchema } from "../../../src/schema/define-schema.ts";
import { global } from "../../../src/schema/table.ts";

/** Tables in a database of a plain prompt: none of the library's functions and settings. */
function promptWith(tables: Parameters<typeof defineSchema>[0]["tables"]): DatabaseSync {
  const { model } = defineSchema({ key: bigint(), tables });
  const prompt = new DatabaseSync(":memory:");
  for (const table of model.tables.values())
    for (const sql of sqliteDialect.createTable(table)) prompt.exec(sql);
  return prompt;
}

describe("the kind of table", () => {
  const prompt = promptWith({
    small: global({ id: bigint(), label: text(255), details: json() }),
    large: global({ id: bigint(), body: text() }),
    large_pair: global({ a: bigint(), b: bigint(), body: bytes() }, { primaryKey: ["a", "b"] }),
    large_number: global({ id: int(), body: text() }),
    counted: global({ id: bigint().autoIncrement(), label: text(20) }),
  });

  test.each([
    ["small", true],
    ["large", false],
    ["large_pair", false],
    ["large_number", false],
    ["counted", false],
  ])("%s is without rowid: %s", (name, without) => {
    expect(prompt.prepare("select wr from pragma_table_list where name = ?").get(name)).toMatchObject({
      wr: without ? 1 : 0,
    });
    expect(prompt.prepare("select strict from pragma_table_list where name = ?").get(name)).toMatchObject({
      strict: 1,
    });
  });

  test.each(["large", "large_pair", "large_number", "small"])("%s invents no id", (name) => {
    const other = name === "small" ? "label, details" : "body";
    const values = name === "small" ? "'x', '1'" : name === "large_pair" ? "x'00'" : "'x'";
    expect(() => prompt.exec(`insert into ${name} (${other}) values (${values})`)).toThrow(/NOT NULL/);
  });
});

describe("a plain prompt cannot store", () => {
  const refused: readonly [string, Column<unknown>, readonly string[], readonly string[]][] = [
    ["int", int(), ["'x'", "1.5", "2147483648", "x'00'"], ["2147483647", "-2147483648", "'7'", "7.0"]],
    [
      "bigint",
      bigint(),
      ["'x'", "1.5", "9223372036854775808"],
      ["9223372036854775807", "-9223372036854775808"],
    ],
    ["decimal(9, 6)", decimal(9, 6), ["'x'", "1000", "-1000", "9e999"], ["999.999999", "-999.999999", "0"]],
    ["decimal(15, 15)", decimal(15, 15), ["1", "-1"], ["0.999999999999999"]],
    ["decimal(38, 10)", decimal(38, 10), ["'1.5'", "1.5", "x'00'"], ["'p011.5'", "'n988.4~'"]],
    ["double", double(), ["'x'", "9e999", "-9e999"], ["1.7976931348623157e308", "5e-324"]],
    ["boolean", boolean(), ["2", "'x'", "0.5"], ["0", "1", "true"]],
    ["text(3)", text(3) as Column<unknown>, ["'abcd'", "x'00'"], ["'abc'", "'😀😀😀'", "''"]],
    ["json", json(), ["'{no'", "''", "x'00'"], ["'{\"a\": 1}'", "'null'", "'12345678901234567890'"]],
    [
      "timestamp",
      timestamp(),
      [
        "'2024-01-01'",
        "'2024-01-01T00:00:00Z'",
        "'2024-01-01 00:00:00.000Z'",
        "'2024-01-01T00:00:00.000000Z'",
        "1",
      ],
      ["'2024-01-01T00:00:00.000Z'"],
    ],
    ["timestamp(6)", timestamp(6), ["'2024-01-01T00:00:00.000Z'"], ["'2024-01-01T00:00:00.000000Z'"]],
    ["date", date(), ["'2024-1-1'", "'01.01.2024'", "'2024-01-01T00'"], ["'2024-01-01'"]],
    [
      "uuid",
      uuid(),
      ["'01234567-89ab-cdef-0123-456789abcdef'", "x'00'"],
      ["x'0123456789abcdef0123456789abcdef'"],
    ],
    ["bytes(2)", bytes(2), ["x'000000'", "'x'"], ["x'0000'", "x''"]],
  ];

  test.each(refused)("what is no %s", (_, column, bad, good) => {
    const prompt = promptWith({ t: global({ id: bigint(), value: column.nullable() }) });
    for (const literal of bad)
      expect(() => prompt.exec(`insert into t values (1, ${literal})`), literal).toThrow(
        /constraint|cannot store/,
      );
    for (const literal of ["null", ...good]) {
      expect(() => prompt.exec(`insert into t values (1, ${literal})`), literal).not.toThrow();
      prompt.exec("delete from t");
    }
  });
});
