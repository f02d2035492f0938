/** The checker itself: shortest traces, dead ends, and choices that are not counted as a way out. */
import { expect, test } from "vitest";
import { type CheckedModel, explore, type Kind } from "./checker.ts";

/** A model whose states are numbers, from a list of edges; 0 is the first state. */
function graph(
  edges: readonly (readonly [number, number, Kind?])[],
  complete: number,
  bad?: number,
): CheckedModel {
  return {
    words: 1,
    initial: (words) => words.fill(0),
    successors(words, emit) {
      for (const [from, to, kind] of edges) {
        if (from === words[0]) emit(Uint32Array.of(to), kind ?? "progress", () => `${from} to ${to}`);
      }
    },
    violation: (words) => (words[0] === bad ? "bad" : undefined),
    isComplete: (words) => words[0] === complete,
    describe: (words) => String(words[0]),
  };
}

test("a graph in which all states reach the end holds, circles included", () => {
  const result = explore(
    graph(
      [
        [0, 1],
        [1, 0],
        [1, 2],
        [2, 3],
      ],
      3,
    ),
  );
  expect(result).toEqual({ states: 4, transitions: 4, depth: 3, completeStates: 1, violation: undefined });
});

test("the trace to a violation is a shortest one", () => {
  const edges = [
    [0, 1],
    [1, 2],
    [2, 9],
    [0, 5],
    [5, 9],
  ] as const;
  const violation = explore(graph(edges, 9, 9)).violation!;
  expect(violation.reason).toBe("bad");
  expect(violation.trace.map((step) => step.label)).toEqual(["0 to 5", "5 to 9"]);
});

test("a dead end, a circle without exit, and an exit by choice alone are no ways to completion", () => {
  const end = [0, 9] as const;
  for (const edges of [
    [end, [0, 1]],
    [end, [0, 1], [1, 2], [2, 1]],
    [end, [0, 1], [1, 9, "choice"]],
  ] as (readonly [number, number, Kind?])[][]) {
    const violation = explore(graph(edges, 9)).violation!;
    expect(violation.reason).toBe("no way to completion");
    expect(violation.trace.map((step) => step.label)).toEqual(["0 to 1"]);
  }
});

test("many states: the table grows and forgets none", () => {
  const count = 300_000;
  const model: CheckedModel = {
    words: 2,
    initial: (words) => words.fill(0),
    successors(words, emit) {
      const at = words[0]!;
      if (at + 1 < count) emit(Uint32Array.of(at + 1, at % 7), "progress", () => "next");
    },
    violation: () => undefined,
    isComplete: (words) => words[0] === count - 1,
    describe: () => "",
  };
  expect(explore(model)).toMatchObject({
    states: count,
    depth: count - 1,
    completeStates: 1,
    violation: undefined,
  });
});
