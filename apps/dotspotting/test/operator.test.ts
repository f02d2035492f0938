import { forEachEngine } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openFreshSite, type Site } from "./site.ts";
import { dotIds, readable, Visitor } from "./visitor.ts";

const table = (count: number) =>
  [
    "name,lat,lon",
    ...Array.from({ length: count }, (_, row) => `place ${row + 1},${row % 90},${row % 180}`),
  ].join("\n");

interface Progress {
  readonly version: string;
  readonly moves: readonly { readonly id: string; readonly text: string; readonly percent: number | null }[];
}

forEachEngine((engine) => {
  describe(`the operator's page on ${engine.name}`, { timeout: 60_000 }, () => {
    let site: Site;
    let ada: Visitor;

    beforeAll(async () => {
      site = await openFreshSite(engine.name, { sharded: true, operators: ["ada"] });
      ada = new Visitor(site.address);
      await ada.signUp("ada");
    });

    afterAll(async () => {
      await site.close();
      expect(site.errors).toEqual([]);
    });

    /** Somebody with a sheet of so many dots. */
    async function member(
      name: string,
      dots: number,
    ): Promise<{ browser: Visitor; sheet: string; id: bigint }> {
      const browser = new Visitor(site.address);
      await browser.signUp(name);
      const sheet = (await browser.upload("places.csv", table(dots))).location;
      const { id } = await site.fed.main
        .selectFrom("users")
        .select("id")
        .where("name", "=", name)
        .executeTakeFirstOrThrow();
      return { browser, sheet, id };
    }

    const shardOf = async (id: bigint) => (await site.fed.tenants.where(id)).shard;
    const page = async (query = "") => readable((await ada.get(`/operator${query}`)).text);
    const progress = () => ada.json<Progress>("/operator/moves.json");
    const settled = () => expect.poll(async () => (await progress()).moves, { timeout: 20_000 }).toEqual([]);
    const act = (action: string, id: string) => ada.submit("/operator", `/operator/moves/${id}/${action}`);

    it("is for operators alone", async () => {
      const { browser } = await member("eve", 1);
      expect((await new Visitor(site.address).get("/operator")).location).toBe("/login?next=%2Foperator");
      for (const path of ["/operator", "/operator/moves.json"])
        expect([path, (await browser.get(path)).status]).toEqual([path, 404]);
      const move = await browser.submit("/upload", "/operator/moves", { user: "ada", to: "2" });
      const abort = await browser.submit("/upload", "/operator/moves/1/abort");
      expect([move.status, abort.status]).toEqual([404, 404]);
      expect((await browser.get("/")).text).not.toContain('href="/operator"');
      expect((await ada.get("/")).text).toContain('href="/operator"');
      expect(await site.fed.moves.list({ all: true })).toEqual([]);
    });

    it("shows where each user lives, and each shard's share", async () => {
      const { id } = await member("frank", 3);
      const shard = await shardOf(id);
      const text = await page();
      expect(text).toMatch(
        /Shards Shard 1 .* users? \d+(\.\d)? % Shard 2 .* users? \d+(\.\d)? % Moves Nobody has been moved yet/,
      );
      expect(text).toMatch(new RegExp(`frank 1 3 ${shard} 1 active shard ${3 - shard} `));
      expect(await page("?per_page=1&spill=0&page=2")).toMatch(/Users .* eve 1 1 .*Page 2 of 3, 3 in all/);
      const found = await page("?user=FR");
      expect([found.includes("frank 1 3"), found.includes("eve 1 1")]).toEqual([true, false]);
      expect(await page("?user=fr%25")).toContain("There is nobody with such a name");
    });

    // A dot moves with its text: two rows.
    it("moves a user, who finds everything as it was, and moves the user back", async () => {
      const { browser, sheet, id } = await member("grace", 120);
      const before = dotIds((await browser.get(sheet)).text);
      const from = await shardOf(id);
      const to = 3 - from;
      const { version } = await progress();
      const answer = await ada.submit("/operator", "/operator/moves", { user: "grace", to: String(to) });
      expect([answer.status, answer.location]).toEqual([303, "/operator"]);
      await settled();
      expect(await shardOf(id)).toBe(to);
      expect((await progress()).version).not.toBe(version);
      expect(dotIds((await browser.get(sheet)).text)).toEqual(before);
      expect((await browser.upload("more.csv", "lat,lon\n1,2\n")).status).toBe(303);
      const text = await page();
      expect(text).toMatch(new RegExp(`grace ${from} → ${to} just now 241 \\d+ ms Done Undo`));
      expect(text).toMatch(new RegExp(`grace 2 121 ${to} 2 active`));

      const [{ id: move }] = (await site.fed.moves.list({ all: true })) as unknown as [{ id: bigint }];
      expect((await act("undo", String(move))).status).toBe(303);
      await settled();
      expect(await shardOf(id)).toBe(from);
      expect(await page()).toMatch(new RegExp(`grace 2 121 ${from} 3 active`));
      // It was undone; what was moved back can be moved again, and no more than that.
      const again = await act("undo", String(move));
      expect([again.status, readable(again.text)]).toEqual([
        422,
        expect.stringContaining("cannot be undone"),
      ]);
    });

    it("pauses a move, goes on with it, and turns it back", async () => {
      const { id } = await member("hedy", 400);
      const from = await shardOf(id);
      await ada.submit("/operator", "/operator/moves", { user: "hedy", to: String(3 - from), pace: "100" });
      await expect
        .poll(async () => (await progress()).moves[0]?.percent ?? 0, { timeout: 20_000 })
        .toBeGreaterThan(0);
      const [move] = (await progress()).moves as [Progress["moves"][number]];
      expect(move.text).toMatch(
        /^Copies (dots|sheets|texts): [\d,]+ of 801 rows, [\d,]+ a second, \d+ s left$/,
      );
      expect(await page()).toMatch(
        new RegExp(`hedy shard ${from} → ${3 - from} Under way .*hedy 1 400 ${from} 1 moving`),
      );
      expect((await act("pause", move.id)).status).toBe(303);
      expect(await page()).toMatch(/hedy shard \d → \d Paused .* Resume .* Abort/);
      expect((await act("resume", move.id)).status).toBe(303);
      expect(await page()).toMatch(/hedy shard \d → \d Under way/);
      expect((await act("abort", move.id)).status).toBe(303);
      expect(await page()).toMatch(new RegExp(`hedy ${from} → ${3 - from} just now \\d+ Turned back`));
      expect(await site.fed.tenants.where(id)).toMatchObject({ shard: from, epoch: 1n, state: "active" });
    });

    it("shows a shard that is drained", async () => {
      await site.fed.drain(2);
      expect(await page()).toMatch(/Shard 2 \S+ 0 users 0 % Drained: takes no new users Moves/);
      await site.fed.reopen(2);
      expect(await page()).not.toContain("Drained");
    });

    it("says what is refused, to a form on the page and to a script in a word", async () => {
      const { id } = await member("iris", 1);
      const shard = String(await shardOf(id));
      const form = await ada.submit("/operator", "/operator/moves", { user: "iris", to: shard });
      expect([form.status, readable(form.text)]).toEqual([422, expect.stringContaining("MOVE_SAME_SHARD")]);
      const scripted = async (fields: Record<string, string>) => {
        const token = /name="token" value="([^"]+)"/.exec((await ada.get("/operator")).text)?.[1] as string;
        const request = {
          method: "POST",
          body: new URLSearchParams({ token, ...fields }),
          headers: { Accept: "application/json" },
        };
        const { status, text } = await ada.send("/operator/moves", request);
        return [status, (JSON.parse(text) as { problem: string }).problem];
      };
      expect(await scripted({ user: "iris", to: "7" })).toEqual([422, "There is no such shard."]);
      expect(await scripted({ user: "nobody", to: "1" })).toEqual([422, "There is no user with this name."]);
      expect((await act("pause", "999999")).status).toBe(404);
      const [ended] = (await site.fed.moves.list({ all: true })) as unknown as [{ id: bigint }];
      expect(readable((await act("pause", String(ended.id))).text)).toContain("MOVE_STEP");
    });
  });
});

describe("the operator's page of one embedded database", () => {
  it("belongs to who signed up first, and says how to add a shard", async () => {
    const site = await openFreshSite("sqlite", { operators: "firstUser" });
    const [first, second] = [new Visitor(site.address), new Visitor(site.address)];
    await first.signUp("first");
    await second.signUp("second");
    const text = readable((await first.get("/operator")).text);
    expect(text).toMatch(/Shard 1 .* 2 users 100 % With one shard nobody can move/);
    expect(text).toMatch(
      /export DOTSPOTTING_OPERATORS=first export DOTSPOTTING_FEDERATION='\{ "main": "sqlite:.*\.db", "shards": \{ "1": "main", "2":/,
    );
    expect(text).not.toContain("Move to");
    expect((await second.get("/operator")).status).toBe(404);
    await site.close();
    expect(site.errors).toEqual([]);
  });
});
