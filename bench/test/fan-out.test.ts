import { expect, test } from "vitest";
import { createdOf, dotsShape } from "../src/fan-out/dots.ts";
import { compareAnswers } from "../src/fan-out/questions.ts";

const compare = (question: Parameters<typeof compareAnswers>[0], ...answers: Record<string, unknown>[][]) =>
  compareAnswers(question, new Map(answers.map((rows, index) => [`contestant ${index}`, rows])));

test("takes answers for equal that are in different forms", () => {
  compare(
    "groups",
    [{ category: "a", n: 3n, s: "10.50", a: "3.500000" }],
    [{ category: "a", n: "3", s: "10.5", a: "3.5000000000000000" }],
    [{ category: "a", n: 3, s: "10.500", a: "3.50" }],
  );
  compare("newest", [{ id: 1n, user_id: 2, category: "a", score: "100", created: new Date(0), label: "b" }]);
});

test("refuses answers that differ in a value, in order or in number, and an answer without rows", () => {
  expect(() => compare("filtered", [{ n: 3 }], [{ n: 4 }])).toThrow("contestant 1 answers");
  expect(() => compare("average", [{ a: "3.5001" }], [{ a: "3.5002" }])).toThrow("3.5002");
  const [first, second] = [{ category: "a" }, { category: "b" }];
  expect(() => compare("distinct", [first, second], [second, first])).toThrow("contestant 1");
  expect(() => compare("distinct", [first, second], [first])).toThrow("contestant 1");
  expect(() => compare("distinct", [])).toThrow("no rows");
});

test("keeps the zeros of a decimal that has no point", () => {
  expect(() => compare("newest", [dot("100")], [dot("1")])).toThrow("contestant 1");
  compare("newest", [dot("100")], [dot("100.00")]);
});

const dot = (score: string) => ({
  id: 1,
  user_id: 2,
  category: "a",
  score,
  created: new Date(0),
  label: "b",
});

test("spreads rows evenly over shards, with a moment for each number", () => {
  const shape = dotsShape(1_000_000);
  expect(shape).toEqual({ rows: 1_000_002, rowsOfShard: 333_334, usersOfShard: 3350 });
  expect(createdOf(shape, 1_000_003)).toEqual(new Date(Date.UTC(2026, 0, 1, 0, 0, 1)));
});
