import { expect, test } from "vitest";
import { decodeTimestamp } from "../../src/engine/value-checks.ts";

const DAY_MS = 86_400_000;

test("reads every day from the year 1 to 9999 as Date does", () => {
  const last = Date.parse("9999-12-31T00:00:00.000Z");
  for (let day = Date.parse("0001-01-01T00:00:00.000Z"); day <= last; day += DAY_MS) {
    const text = new Date(day).toISOString();
    const read = (decodeTimestamp(text, 3) as Date).getTime();
    if (read !== day) expect(`${text}: ${read}`).toBe(`${text}: ${day}`);
  }
});

test.each([
  ["2026-01-02 03:04:05", "2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05.000000Z"],
  ["2026-01-02 03:04:05+00", "2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05.000000Z"],
  ["2026-01-02 23:59:59.9+00", "2026-01-02T23:59:59.900Z", "2026-01-02T23:59:59.900000Z"],
  ["2024-02-29T00:00:00.07Z", "2024-02-29T00:00:00.070Z", "2024-02-29T00:00:00.070000Z"],
  ["1969-12-31 23:59:59.999999+00", "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999999Z"],
  ["0099-03-01 00:00:00.1234", "0099-03-01T00:00:00.123Z", "0099-03-01T00:00:00.123400Z"],
])("reads %s, cutting what is behind the milliseconds", (text, milliseconds, microseconds) => {
  expect(decodeTimestamp(text, 3)).toEqual(new Date(milliseconds));
  expect(decodeTimestamp(text, 6)).toBe(microseconds);
});

test.each([
  "infinity",
  "10000-01-01 00:00:00+00",
  "0000-00-00 00:00:00",
  "2026-01-00 00:00:00",
  "2026-13-01 00:00:00",
  "2026-01-01 25:00:00",
  "",
])("takes %j for no moment", (text) => {
  expect((decodeTimestamp(text, 3) as Date).getTime()).toBeNaN();
});
