import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashPassword, passwordMatches, passwordProblem } from "../src/accounts/passwords.ts";
import { Sessions, sessionSecondsMax } from "../src/accounts/session.ts";
import { Throttle } from "../src/accounts/throttle.ts";
import { userNameProblem } from "../src/accounts/users.ts";
import { safeNext } from "../src/web/account-routes.ts";

describe("passwords", () => {
  it("match their own hash only, and two hashes of one password differ", async () => {
    const [one, two] = await Promise.all([hashPassword("correct horse"), hashPassword("correct horse")]);
    expect(one).toMatch(/^scrypt\$32768\$8\$1\$[\w-]{22}\$[\w-]{43}$/);
    expect(one).not.toBe(two);
    expect(await passwordMatches("correct horse", one)).toBe(true);
    expect(await passwordMatches("correct horse", two)).toBe(true);
    expect(await passwordMatches("Correct horse", one)).toBe(false);
    expect(await passwordMatches("", one)).toBe(false);
  });

  it("are the same however their letters are composed", async () => {
    expect(await passwordMatches("cafe\u0301 au lait", await hashPassword("caf\u00e9 au lait"))).toBe(true);
  });

  it.each(["", "scrypt", "scrypt$1$1$1$$", "bcrypt$32768$8$1$c2FsdA$a2V5"])(
    "match no broken hash: %s",
    async (hash) => {
      expect(await passwordMatches("correct horse", hash)).toBe(false);
    },
  );

  it("have rules", () => {
    expect(passwordProblem("too short", "ada")).toMatch(/at least 10/);
    expect(passwordProblem("aaaaaaaaaaaa", "ada")).toMatch(/different/);
    expect(passwordProblem("somebody else", "body")).toMatch(/name/);
    expect(passwordProblem("x1y".repeat(100), "ada")).toMatch(/at most 200/);
    expect(passwordProblem("correct horse", "ada")).toBeUndefined();
  });
});

describe("names", () => {
  it.each(["ab", "a-b_c", "0x", "a".repeat(32)])("%s can be taken", (name) => {
    expect(userNameProblem(name)).toBeUndefined();
  });
  it.each(["", "a", "-a", "A b", "ä", "a/b", "a".repeat(33), "a\0"])("%j cannot", (name) => {
    expect(userNameProblem(name)).toBeDefined();
  });
});

describe("sessions", () => {
  it("are read from their own cookie only", () => {
    const sessions = new Sessions("one secret");
    const cookie = sessions.seal(sessions.begin(42n));
    expect(sessions.open(cookie)?.userId).toBe(42n);
    expect(new Sessions("another secret").open(cookie)).toBeUndefined();
    expect(sessions.open(sessions.seal(sessions.begin()))?.userId).toBeUndefined();
    fc.assert(
      fc.property(fc.nat(cookie.length - 1), fc.constantFrom("0", "A", ".", "-", ""), (at, sign) => {
        const changed = cookie.slice(0, at) + sign + cookie.slice(at + 1);
        expect(sessions.open(changed)?.userId).toBe(changed === cookie ? 42n : undefined);
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => sessions.open(text) === undefined));
  });

  it("end after thirty days", () => {
    let now = 1_000_000;
    const sessions = new Sessions("one secret", () => now);
    const cookie = sessions.seal(sessions.begin(1n));
    now += sessionSecondsMax;
    expect(sessions.open(cookie)).toBeDefined();
    now += 1;
    expect(sessions.open(cookie)).toBeUndefined();
  });

  it("have form tokens of their own", () => {
    const sessions = new Sessions("one secret");
    const [one, two] = [sessions.begin(1n), sessions.begin(1n)];
    expect(sessions.formTokenMatches(one, sessions.formToken(one))).toBe(true);
    expect(sessions.formTokenMatches(two, sessions.formToken(one))).toBe(false);
    for (const token of [undefined, "", "x", {}]) expect(sessions.formTokenMatches(one, token)).toBe(false);
    // A token is no cookie's signature and the other way round.
    expect(sessions.seal(one)).not.toContain(sessions.formToken(one));
  });
});

describe("the throttle", () => {
  it("lets so many attempts pass, then none until its window is over", () => {
    let now = 0;
    const throttle = new Throttle({ attemptsMax: 3, windowMs: 60_000, now: () => now });
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(throttle.wait("ada")).toBe(0);
      throttle.count("ada");
      now += 10_000;
    }
    expect(throttle.wait("ada")).toBe(30);
    expect(throttle.wait("grace")).toBe(0);
    now = 60_000;
    expect(throttle.wait("ada")).toBe(0);
    throttle.count("ada");
    expect(throttle.wait("ada")).toBe(0);
  });

  it("forgets who was let in, and the oldest names when there are many", () => {
    const throttle = new Throttle({ attemptsMax: 1, windowMs: 60_000, namesMax: 2 });
    throttle.count("one");
    throttle.forget("one");
    expect(throttle.wait("one")).toBe(0);
    for (const name of ["one", "two", "three"]) throttle.count(name);
    expect([throttle.wait("one"), throttle.wait("two") > 0, throttle.wait("three") > 0]).toEqual([
      0,
      true,
      true,
    ]);
  });
});

describe("where to go after logging in", () => {
  it.each(["/", "/upload", "/s/12?page=2", "/u/ada"])("%s is an address here", (next) => {
    expect(safeNext(next)).toBe(next);
  });
  it.each([
    undefined,
    "",
    "//evil.example",
    "/\\evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "/\n/x",
    "x",
  ])("%j is not", (next) => {
    expect(safeNext(next)).toBe("/");
  });
});
