/** What is shown of moves, on a terminal and elsewhere. */
import { describe, expect, it } from "vitest";
import { duration, MoveScreen } from "../../src/cli/move-screen.ts";
import type { MoveStatus } from "../../src/move/move-status.ts";

const copying: MoveStatus = {
  id: 7n,
  federation: "default",
  kind: "move",
  what: "key 12",
  key: "12",
  keys: 1,
  from: 1,
  to: 2,
  step: "copy",
  state: "running",
  table: "dots",
  rowsTotal: 4_000,
  rowsCopied: 1_000,
  rowsVerified: 0,
  rowsPerSecond: 1_500,
  logEntries: 0,
  pauseMs: undefined,
  remainingMs: 2_000,
  attempts: 1,
  waitsFor: undefined,
  error: undefined,
  startedAt: new Date(0),
  updatedAt: new Date(0),
  finishedAt: undefined,
};
const ended = {
  ...copying,
  step: "done",
  state: "done",
  rowsCopied: 4_000,
  pauseMs: 11.6,
  finishedAt: new Date(75_000),
} as const;

function shown(terminal: { isTTY?: boolean; columns?: number }, ...statuses: MoveStatus[]): string[] {
  const written: string[] = [];
  const screen = new MoveScreen({ ...terminal, write: (text) => written.push(text) });
  for (const status of statuses) screen.show(status);
  return written;
}

describe("a terminal", () => {
  const wide = { isTTY: true, columns: 120 };
  const bar =
    "move 7, key 12, shard 1 → 2: copy dots  [██████··················] 25 %  1,000 of 4,000 rows  1,500/s  2.0 s left\n";

  it("shows a bar, which is written over, and how it went in the end", () => {
    expect(shown(wide, copying, { ...copying, rowsCopied: 4_000, remainingMs: 0 }, ended)).toEqual([
      `\r\x1b[J${bar}`,
      `\x1b[1A\r\x1b[Jmove 7, key 12, shard 1 → 2: copy dots  [████████████████████████] 100 %  4,000 of 4,000 rows  1,500/s  0.0 s left\n`,
      "\x1b[1A\r\x1b[Jmove 7, key 12, shard 1 → 2: done, 4,000 rows in 1 min 15 s; its writes waited 12 ms\n",
    ]);
  });

  it("shows moves under one another, and those that have ended above them", () => {
    const other = {
      ...copying,
      id: 8n,
      what: "key 13",
      step: "leave",
      waitsFor: "open transactions of the keys to end",
    } as const;
    const written = shown(wide, copying, other, ended);
    expect(written[1]).toBe(
      `\x1b[1A\r\x1b[J${bar}move 8, key 13, shard 1 → 2: leave  waits for open transactions of the keys to end\n`,
    );
    expect(written[2]).toMatch(/^\x1b\[2A\r\x1b\[Jmove 7, .* done, .*\nmove 8, .*\n$/);
  });

  it("never fills a line: it would wrap, and going up would miss it", () => {
    const [written = ""] = shown({ isTTY: true, columns: 46 }, copying);
    expect(written).toBe("\r\x1b[Jmove 7, key 12, shard 1 → 2: copy dots  [████\n");
  });
});

describe("a pipe", () => {
  it("gets a line for each step, each wait and the outcome, without a bar", () => {
    const lines = shown(
      {},
      { ...copying, rowsTotal: 0, rowsCopied: 0, remainingMs: undefined },
      copying,
      { ...copying, step: "freeze", waitsFor: "calm" },
      { ...copying, step: "freeze" },
      { ...copying, step: "aborted", state: "aborted", error: { code: "MOVE_VERIFY", message: "…" } },
    );
    expect(lines).toEqual([
      "move 7, key 12, shard 1 → 2: copy dots\n",
      "move 7, key 12, shard 1 → 2: freeze  waits for calm\n",
      "move 7, key 12, shard 1 → 2: aborted (MOVE_VERIFY), everything is served by shard 1\n",
    ]);
  });

  it("shows nothing of a move after its end, and the shard once where nothing leaves it", () => {
    expect(shown({}, { ...ended, from: 1, to: 1, pauseMs: undefined }, ended)).toEqual([
      "move 7, key 12, shard 1: done in 1 min 15 s\n",
    ]);
  });
});

it("tells times as people do", () => {
  expect([0, 940, 9_949, 59_400, 3_599_000, 7_500_000].map(duration)).toEqual([
    "0.0 s",
    "0.9 s",
    "9.9 s",
    "59 s",
    "59 min 59 s",
    "2 h 5 min",
  ]);
});
