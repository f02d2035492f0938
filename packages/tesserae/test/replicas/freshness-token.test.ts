/** Tokens, and the primaries that do not tell where a write is. */
import { expect, test } from "vitest";
import { Freshness } from "../../src/replicas/freshness.ts";
import { WriteContexts } from "../../src/replicas/own-writes.ts";
import type { Primary } from "../../src/replicas/primary.ts";

/** A primary that tells its position, or does not answer. */
class Played {
  readonly name = "main";
  answers = true;
  asked = 0;
  readonly replication = { covers: (position: string, wanted: string) => Number(position) >= Number(wanted) };

  async askPosition(): Promise<string> {
    this.asked += 1;
    if (!this.answers) throw new Error("it does not answer");
    return "7";
  }
}

function open() {
  const played = new Played();
  const primary = played as unknown as Primary;
  const contexts = new WriteContexts();
  const freshness = new Freshness(contexts, new Map([["main", primary]]));
  const writes = () => contexts.current.of(primary);
  return { played, freshness, writes };
}

test("a token of a write whose position nobody tells has its reader ask for it", async () => {
  const { played, freshness, writes } = open();
  played.answers = false;
  const token = await freshness.run(async () => {
    writes().note();
    return freshness.token();
  });
  expect(token).toMatch(/^f1\./);
  played.answers = true;
  await freshness.run(
    async () => {
      expect(writes().isUnasked).toBe(true);
      await writes().ask();
      expect(writes().wish?.position).toBe("7");
    },
    { token },
  );
});

test("a token carries a position, and nothing where nothing was written", async () => {
  const { played, freshness, writes } = open();
  expect(await freshness.run(() => freshness.token())).toBeUndefined();
  const token = await freshness.run(async () => {
    writes().note();
    return freshness.token();
  });
  expect(played.asked).toBe(1);
  freshness.run(() => expect(writes().wish?.position).toBe("7"), { token });
  // Handed on without another question.
  expect(await freshness.run(() => freshness.token(), { token })).toBe(token);
  expect(played.asked).toBe(1);
});

test("what is no token is refused, with what to do", () => {
  const { freshness } = open();
  const invalid = expect.objectContaining({ code: "FRESHNESS_TOKEN_INVALID" });
  for (const token of ["", "f1.", "f1.e30=", "f1.W10", 5 as never, "f1.eyJtYWluIjoiPz8ifQ"])
    expect(() => freshness.run(() => {}, { token })).toThrow(invalid);
  expect(() => freshness.run(() => {}, { token: freshness.token() as never })).toThrow(
    /It is a promise: await it/,
  );
  expect(() => freshness.run(() => {}, { tokne: "x" } as never)).toThrow(/no option "tokne"/);
});
