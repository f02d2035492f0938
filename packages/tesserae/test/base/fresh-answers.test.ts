/** Shared look-ups: nobody gets an answer that is older than the question. */
import { expect, test } from "vitest";
import { FreshAnswers } from "../../src/base/fresh-answers.ts";

function lookUps() {
  const begun: { resolve: (answer: number) => void; reject: (error: Error) => void }[] = [];
  const lookUp = () => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    begun.push({ resolve, reject });
    return promise;
  };
  return { begun, lookUp };
}

test("who asks while a look-up runs waits for the next one, with all who ask meanwhile", async () => {
  const answers = new FreshAnswers<number>();
  const { begun, lookUp } = lookUps();
  const first = answers.ask("a", lookUp);
  const late = Array.from({ length: 50 }, () => answers.ask("a", lookUp));
  expect(begun).toHaveLength(1);
  begun[0]?.resolve(1);
  expect(await first).toBe(1);
  await Promise.resolve();
  expect(begun).toHaveLength(2);
  const later = answers.ask("a", lookUp);
  begun[1]?.resolve(2);
  expect(new Set(await Promise.all(late))).toEqual(new Set([2]));
  await Promise.resolve();
  begun[2]?.resolve(3);
  expect(await later).toBe(3);
  expect(begun).toHaveLength(3);
});

test("a look-up that fails is its askers' alone, and keys do not wait for each other", async () => {
  const answers = new FreshAnswers<number>();
  const { begun, lookUp } = lookUps();
  const first = answers.ask("a", lookUp);
  const next = answers.ask("a", lookUp);
  const other = answers.ask("b", lookUp);
  begun[1]?.resolve(7);
  expect(await other).toBe(7);
  begun[0]?.reject(new Error("main is away"));
  await expect(first).rejects.toThrow("main is away");
  await Promise.resolve();
  begun[2]?.resolve(8);
  expect(await next).toBe(8);
});
