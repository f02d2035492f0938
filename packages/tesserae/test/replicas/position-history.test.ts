/** Lag by position, and what the end of a primary does to it. */
import { describe, expect, test } from "vitest";
import { mysqlReplication } from "../../src/engine/mysql/replication.ts";
import { postgresReplication } from "../../src/engine/postgres/replication.ts";
import { PositionHistory } from "../../src/replicas/position-history.ts";

const lsn = (n: number) => `0/${n.toString(16)}`;

function historyOf(samples: readonly (readonly [position: number, atMs: number])[]): PositionHistory {
  const history = new PositionHistory(postgresReplication.covers);
  for (const [position, atMs] of samples) history.add(lsn(position), atMs);
  return history;
}

describe("the history of a primary's position", () => {
  test("a replica is behind by the age of the oldest sample that it lacks", () => {
    const history = historyOf([
      [100, 0],
      [200, 500],
      [200, 1_000],
      [300, 1_500],
      [400, 2_000],
    ]);
    expect(history.lagMs(lsn(99))).toBeUndefined();
    expect(history.lagMs(lsn(100))).toBe(1_500);
    expect(history.lagMs(lsn(250))).toBe(500);
    expect(history.lagMs(lsn(400))).toBe(0);
    expect(history.lagMs(lsn(900))).toBe(0);
    expect(history.lagMs("0-1-5")).toBeUndefined();
  });

  test("nothing written, nobody falls behind; nobody asked, nobody falls behind", () => {
    const history = historyOf([
      [100, 0],
      [200, 1_000],
      [200, 60_000],
    ]);
    expect(history.lagMs(lsn(200))).toBe(0);
    expect(history.lagMs(lsn(100))).toBe(59_000);
  });

  test("what a new primary lacks is waited for no more", () => {
    const history = historyOf([
      [100, 0],
      [500, 1_000],
      [300, 2_000],
    ]);
    expect(history.lagMs(lsn(300))).toBe(0);
    const domains = new PositionHistory(mysqlReplication.covers);
    domains.add("0-1-100", 0);
    domains.add("0-1-200,1-1-5", 1_000);
    domains.add("0-2-150", 2_000);
    expect(domains.lagMs("0-2-150")).toBe(0);
    expect(domains.lagMs("0-1-120")).toBe(0);
  });

  test("days of samples take no room, and the last ones are exact", () => {
    const history = historyOf(
      Array.from({ length: 10_000 }, (_, index) => [index + 1, index * 500] as const),
    );
    expect(history.lagMs(lsn(9_980))).toBe(19 * 500);
    for (const position of [9_000, 5_000, 100]) {
      const lagMs = history.lagMs(lsn(position)) as number;
      const exactMs = (9_999 - position) * 500;
      expect(lagMs).toBeLessThanOrEqual(exactMs);
      expect(lagMs).toBeGreaterThan(exactMs * 0.95);
    }
  });
});
