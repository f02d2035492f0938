/** Claims that are cut off at each point, by the end of the process and by its long sleep, and processes that want the same value at once. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { forEachEngine } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { federate } from "../../src/index.ts";
import type { LookupPoint } from "../../src/session/lookup-writer.ts";
import { type LookupSite, lookupConfig, openLookupSite } from "./lookup-site.ts";
import type { ChildWork } from "./lookup-work.child.ts";

const POINTS: LookupPoint[] = ["held", "claimed", "asked", "taken"];
const RACE_ROUNDS = 30;

let children = 0;

class Child {
  readonly process: ChildProcess;
  readonly exited: Promise<unknown[]>;
  #output = "";

  constructor(given: Omit<ChildWork, "id">) {
    const work: ChildWork = { ...given, id: 10_000 * ++children };
    this.process = spawn(
      process.execPath,
      [
        "--conditions=tesserae-source",
        "--disable-warning=ExperimentalWarning",
        join(import.meta.dirname, "lookup-work.child.ts"),
        JSON.stringify(work),
      ],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    this.process.stdout?.on("data", (data) => {
      this.#output += String(data);
    });
    this.exited = once(this.process, "close");
    // A stopped process would outlive a test that fails.
    onTestFinished(() => void this.process.kill("SIGKILL"));
  }

  async said(line: string): Promise<void> {
    while (!this.#output.includes(`${line}\n`) && this.process.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async outcomes(): Promise<Record<string, string>> {
    await this.exited;
    return JSON.parse(this.#output.trim().split("\n").at(-1) as string) as Record<string, string>;
  }
}

forEachEngine((engine) => {
  describe(`claims on ${engine.name}`, () => {
    let site: LookupSite;
    let emails = 0;

    beforeAll(async () => {
      site = await openLookupSite(engine, 3, { waitMs: 250 });
    });

    afterAll(async () => {
      await site?.[Symbol.asyncDispose]();
    });

    const insert = (key: bigint, email: string, fed = site.fed) =>
      fed
        .at(key)
        .insertInto("people")
        .values({ id: BigInt(++emails) + 1_000n, email })
        .execute()
        .then(
          () => "written",
          (error: { code?: string }) => error.code ?? String(error),
        );

    const remove = (key: bigint, email: string) =>
      site.fed.at(key).deleteFrom("people").where("email", "=", email).execute();

    /** The keys that have the e-mail. */
    async function holders(email: string): Promise<bigint[]> {
      const found = [1n, 2n, 3n, 4n].map((key) =>
        site.fed.at(key).selectFrom("people").select("user_id").where("email", "=", email).execute(),
      );
      return (await Promise.all(found)).flat().map(({ user_id }) => user_id);
    }

    /** An e-mail that is free, for the points of taking over one that key 1 had and has no longer. */
    async function freeEmail(point: LookupPoint): Promise<string> {
      const email = `${point}-${++emails}@example.org`;
      if (point === "asked" || point === "taken") {
        expect(await insert(1n, email)).toBe("written");
        await remove(1n, email);
      }
      return email;
    }

    test("a process that ends before its commit leaves no row, and no value that cannot be had", async () => {
      const email = await freeEmail("taken");
      const child = new Child({
        urls: site.urls,
        key: "2",
        emails: [email],
        point: "taken",
        signal: "SIGKILL",
      });
      expect(await child.exited).toEqual([null, "SIGKILL"]);
      expect(await site.fed.lookups.keyOf("people", { email })).toBe(2n);
      expect(await site.fed.find("people", { email })).toBeUndefined();
      // The server may take a moment to notice.
      let outcome: string;
      do outcome = await insert(3n, email);
      while (outcome === "LOOKUP_BUSY");
      expect(outcome).toBe("written");
      expect(await insert(2n, email)).toBe("CONSTRAINT_UNIQUE");
      expect(await site.fed.find("people", { email })).toMatchObject({ user_id: 3n });
      await site.fed.lookups.sweep({ olderThanMs: -60_000, all: true });
      expect(await site.fed.lookups.keyOf("people", { email })).toBe(3n);
    });

    test("a process that is stopped by a signal before its commit keeps the value until it ends", async () => {
      const email = await freeEmail("claimed");
      const child = new Child({
        urls: site.urls,
        key: "2",
        emails: [email],
        point: "claimed",
        signal: "SIGSTOP",
      });
      await child.said("at claimed");
      expect(await insert(3n, email)).toBe("LOOKUP_BUSY");
      child.process.kill("SIGCONT");
      expect(await child.outcomes()).toEqual({ [email]: "written" });
      expect(await holders(email)).toEqual([2n]);
    });

    /** Another federation on the same databases inserts for key 2, and sleeps at the point until it is woken. */
    async function sleepAt(point: LookupPoint, email: string) {
      const reached = Promise.withResolvers<void>();
      const awake = Promise.withResolvers<void>();
      const at = async (now: LookupPoint) => {
        if (now !== point) return;
        reached.resolve();
        await awake.promise;
      };
      const sleeper = await federate(lookupConfig(site.urls, { at }));
      const outcome = insert(2n, email, sleeper).finally(() => sleeper.close());
      // A sleeper would keep its transaction open after a test that fails.
      onTestFinished(async () => {
        awake.resolve();
        await outcome;
      });
      await reached.promise;
      return () => {
        awake.resolve();
        return outcome;
      };
    }

    test.each(POINTS)("who sleeps at %s and wakes up makes no second row", async (point) => {
      const email = await freeEmail(point);
      const wake = await sleepAt(point, email);
      // Once it has claimed, it may still commit: nobody gets the value before that is known.
      const claimed = point === "claimed" || point === "taken";
      expect(await insert(3n, email)).toBe(claimed ? "LOOKUP_BUSY" : "written");
      if (claimed) {
        const swept = await site.fed.lookups.sweep({ olderThanMs: -60_000 });
        expect(swept).toContainEqual(expect.objectContaining({ table: "people", busy: 1 }));
      }
      expect(await wake()).toBe(claimed ? "written" : "CONSTRAINT_UNIQUE");
      expect(await holders(email)).toEqual([claimed ? 2n : 3n]);
    });

    test("who had no row when it was asked may have one when its claim is taken: then it is not", async () => {
      const email = await freeEmail("asked");
      const wake = await sleepAt("asked", email);
      await site.fed.moves.move(1n, { to: 3 });
      expect(await insert(1n, email)).toBe("written");
      expect(await wake()).toBe("CONSTRAINT_UNIQUE");
      expect(await holders(email)).toEqual([1n]);
    });

    test("of two processes that want the same values at once, one gets each", async () => {
      const wanted = Array.from({ length: RACE_ROUNDS }, (_, round) => `race-${round}@example.org`);
      // Every other one was in use before.
      for (const email of wanted.filter((_, round) => round % 2 === 0)) {
        await insert(4n, email);
        await remove(4n, email);
      }
      const child = new Child({ urls: site.urls, key: "2", emails: wanted });
      await child.said("ready");
      child.process.stdin?.write("go\n");
      const own: Record<string, string> = {};
      for (const email of wanted) {
        do own[email] = await insert(3n, email);
        while (own[email] === "LOOKUP_BUSY");
      }
      const others = await child.outcomes();
      for (const email of wanted) {
        expect([own[email], others[email]].toSorted()).toEqual(["CONSTRAINT_UNIQUE", "written"]);
        expect(await holders(email)).toEqual([own[email] === "written" ? 3n : 2n]);
      }
    });
  });
});
