/** Positions in replication: whether one has everything that another one has. */
import { describe, expect, test } from "vitest";
import { mysqlReplication } from "../../src/engine/mysql/replication.ts";
import { postgresReplication } from "../../src/engine/postgres/replication.ts";

const A = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

describe("positions of MariaDB", () => {
  test.each([
    ["0-1-1704", "0-1-1704", true],
    ["0-1-1705", "0-1-1704", true],
    ["0-1-1703", "0-1-1704", false],
    ["0-1-10", "0-1-9", true],
    ["0-2-1704", "0-1-1703", true],
    ["0-2-1704", "0-1-1704", false],
    ["0-1-1704,1-3-20", "0-1-1704", true],
    ["0-1-1704", "0-1-1704,1-3-20", false],
    ["1-3-20,0-1-1704", "0-1-1704,1-3-20", true],
    ["1-3-19,0-1-1704", "0-1-1704,1-3-20", false],
    ["0-1-18446744073709551615", "0-1-18446744073709551614", true],
    ["", "0-1-1", false],
    ["0-1-1", "", false],
    ["", "", false],
    ["0-1", "0-1-1", false],
    ["0-1-1", "0/16B374D848", false],
  ])("%s covers %s: %s", (position, wanted, covers) => {
    expect(mysqlReplication.covers(position, wanted)).toBe(covers);
  });
});

test.each([
  ["0-1-5", "0-1-5", false],
  ["0-1-4", "0-2-5", false],
  ["0-1-6", "0-2-5", true],
  ["0-1-5", "0-2-5", true],
  // Of a replica with two primaries.
  ["0-1-5,7-7-100", "0-1-5", false],
  [`${A}:1-6`, `${A}:1-5`, false],
])("of MariaDB and MySQL, who is at %s has parted from a primary at %s: %s", (position, primary, parted) => {
  expect(mysqlReplication.hasParted(position, primary)).toBe(parted);
});

test("of PostgreSQL, who is ahead of the primary has parted from it", () => {
  expect(postgresReplication.hasParted("0/11", "0/10")).toBe(true);
  expect(postgresReplication.hasParted("0/10", "0/10")).toBe(false);
  expect(postgresReplication.hasParted("", "0/10")).toBe(false);
});

describe("positions of MySQL", () => {
  test.each([
    [`${A}:1-5`, `${A}:1-5`, true],
    [`${A}:1-5`, `${A}:2-4`, true],
    [`${A}:1-5`, `${A}:5`, true],
    [`${A}:1-5`, `${A}:6`, false],
    [`${A}:1-5:7-9`, `${A}:7`, true],
    [`${A}:1-5:7-9`, `${A}:5-7`, false],
    [`${A}:1-5,\n${B}:1-3`, `${B}:2`, true],
    [`${A.toUpperCase()}:1-5`, `${A}:3`, true],
    [`${A}:1-5`, `${B}:1`, false],
    [`${A}:1-5:billing:1-2`, `${A}:billing:2`, true],
    [`${A}:1-5:billing:1-2`, `${A}:billing:3`, false],
    [`${A}:billing:1-9`, `${A}:1`, false],
    [`${A}:1-5`, "0-1-1", false],
    ["0-1-5", `${A}:1`, false],
    [`${A}:1-5`, `${A}:x-y`, false],
    [`${A}`, `${A}:1`, false],
  ])("%s covers %s: %s", (position, wanted, covers) => {
    expect(mysqlReplication.covers(position, wanted)).toBe(covers);
  });
});

describe("positions of PostgreSQL", () => {
  test.each([
    ["16/B374D848", "16/B374D848", true],
    ["16/B374D849", "16/B374D848", true],
    ["16/b374d848", "16/B374D847", true],
    ["16/B374D847", "16/B374D848", false],
    ["17/0", "16/FFFFFFFF", true],
    ["9/0", "10/0", false],
    ["FFFFFFFF/FFFFFFFF", "FFFFFFFF/FFFFFFFE", true],
    ["", "0/1", false],
    ["0/1", "", false],
    ["0/1", "0-1-1", false],
    ["0/123456789", "0/1", false],
  ])("%s covers %s: %s", (position, wanted, covers) => {
    expect(postgresReplication.covers(position, wanted)).toBe(covers);
  });
});
