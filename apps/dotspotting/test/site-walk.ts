/** What people do on the site, and what others see of it. The same on all databases. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resumeDeletions } from "../src/sheets/delete-sheet.ts";
import type { Site } from "./site.ts";
import { dotIds, readable, tokenOf, Visitor } from "./visitor.ts";

const rows = (count: number) => Array.from({ length: count }, (_, row) => `place ${row + 1},${row},${-row}`);
const table = (count: number) => ["name,lat,lon", ...rows(count)].join("\n");

interface DotCollection {
  readonly features: readonly {
    readonly properties: { readonly id: string; readonly label: string };
    readonly geometry: { readonly coordinates: readonly number[] };
  }[];
}

/** `shards` are those that users come to live on. */
export function walkThroughSite(
  databases: string,
  open: () => Promise<Site>,
  shards: readonly number[],
): void {
  describe(`Dotspotting on ${databases}`, () => {
    let site: Site;
    let names = 0;

    beforeAll(async () => {
      site = await open();
    });

    afterAll(async () => {
      await site.close();
      expect(site.errors).toEqual([]);
    });

    const visitor = () => new Visitor(site.address);

    /** Somebody else, a moment later: what others have just written comes to the replicas first. */
    async function stranger(): Promise<Visitor> {
      await site.settle();
      return visitor();
    }

    async function member(): Promise<{ name: string; browser: Visitor }> {
      const name = `member-${++names}`;
      const browser = visitor();
      const answer = await browser.signUp(name);
      expect([answer.status, answer.location]).toEqual([303, "/upload"]);
      return { name, browser };
    }

    async function uploaded(
      browser: Visitor,
      content: string,
      fields: Record<string, string> = {},
    ): Promise<string> {
      const answer = await browser.upload("places.csv", content, fields);
      expect(answer.location, readable(answer.text)).toMatch(/^\/s\/\d+$/);
      return answer.location;
    }

    it("makes a sheet of a file, and shows it on its page, the user's and the front page", async () => {
      const { name, browser } = await member();
      const file = `Title,Lat,Lng,when,note\n"Kiel <b>",54.32,10.13,1992-04-30,"a ""note"""\nOslo,59.91,10.75,,<script>\n`;
      const sheet = await uploaded(browser, file, { label: "Two towns" });
      const page = await browser.get(sheet);
      expect(page.status).toBe(200);
      expect(readable(page.text)).toMatch(
        /Two towns 2 dots by member-1.*54\.32000 10\.13000 Apr 30, 1992.*a "note"/,
      );
      expect(page.text).toContain("Kiel &lt;b&gt;");
      expect(page.text).not.toContain("<script>");
      const { features } = await browser.json<DotCollection>(`${sheet}/dots.geojson`);
      expect(features.map(({ properties, geometry }) => [properties.label, ...geometry.coordinates])).toEqual(
        [
          ["Kiel <b>", 10.13, 54.32],
          ["Oslo", 10.75, 59.91],
        ],
      );
      expect(features.map(({ properties }) => properties.id)).toEqual(dotIds(page.text));
      const dot = await (await stranger()).get(`/d/${features[0]!.properties.id}`);
      expect(readable(dot.text)).toMatch(/Kiel.*In Two towns by.*54\.32000° N, 10\.13000° E.*note a "note"/);
      expect(readable((await (await stranger()).get("/")).text)).toContain(`Two towns 2 dots by ${name}`);
      expect(readable((await (await stranger()).get(`/u/${name}`)).text)).toMatch(
        /1 public sheet.*Two towns/,
      );
      expect((await (await stranger()).json<DotCollection>(`/u/${name}/dots.geojson`)).features).toHaveLength(
        2,
      );
    });

    it("shows a sheet's dots page by page, with spill", async () => {
      const { browser } = await member();
      const sheet = await uploaded(browser, table(23));
      const labels = async (query: string) => {
        const { text } = await browser.get(`${sheet}?${query}`);
        return [...text.matchAll(/place (\d+)<\/a>/g)].map((match) => Number(match[1]));
      };
      const range = (from: number, to: number) =>
        Array.from({ length: to - from + 1 }, (_, index) => from + index);
      expect(await labels("per_page=10&spill=3")).toEqual(range(1, 10));
      expect(await labels("per_page=10&spill=3&page=2")).toEqual(range(11, 23));
      expect(await labels("per_page=10&spill=3&page=3")).toEqual([]);
      expect(await labels("per_page=10&spill=2&page=3")).toEqual(range(21, 23));
      const last = await browser.get(`${sheet}?per_page=10&spill=2&page=2`);
      expect(readable(last.text)).toMatch(/Page 2 of 3, 23 in all/);
      expect(last.text).toContain(`href="${sheet}?page=3&amp;per_page=10&amp;spill=2"`);
      const beyond = await browser.get(`${sheet}?page=9`);
      expect([beyond.status, readable(beyond.text).includes("not that many pages")]).toEqual([200, true]);
    });

    it("names bad rows, and keeps the rest if the owner says so", async () => {
      const { name, browser } = await member();
      const file = "name,lat,lon\nA,1,2\nB,91,2\nC,,\nD,3,4\n";
      const sheet = await uploaded(browser, file);
      const draft = readable((await browser.get(sheet)).text);
      expect(draft).toMatch(/2 rows became dots, 2 rows could not\..*3 latitude “91” is outside −90 to 90/);
      expect(draft).toMatch(/4 latitude is missing; longitude is missing/);
      expect((await visitor().get(sheet)).status).toBe(404);
      expect(readable((await (await stranger()).get(`/u/${name}`)).text)).toContain("0 public sheets");
      const kept = await browser.submit(sheet, `${sheet}/keep`);
      expect([kept.status, kept.location]).toEqual([303, sheet]);
      expect(readable((await visitor().get(sheet)).text)).toContain("2 dots by");
      expect(readable((await browser.get(sheet)).text)).toContain("How it was imported: 2 rows left out");
    });

    it("leaves bad rows out, or refuses the file, where that was asked for beforehand", async () => {
      const { name, browser } = await member();
      const file = "name,lat,lon\nA,1,2\nB,91,2\n";
      const kept = await uploaded(browser, file, { bad_rows: "keep" });
      expect(readable((await visitor().get(kept)).text)).toContain("1 dot by");
      const refused = await browser.upload("places.csv", file, { bad_rows: "refuse" });
      expect(refused.status).toBe(422);
      expect(readable(refused.text)).toMatch(
        /Nothing was imported places\.csv.*One row is bad.*3 latitude “91”/,
      );
      expect(readable((await browser.get(`/u/${name}`)).text)).toContain("1 sheet,");
    });

    it.each([
      ["name,city\na,b\n", /no latitude and no longitude column/],
      ["", /empty/],
      ["lat,lon\n", /no places in it/],
      ["lat,lon\n100,200\n", /Not one of its rows is a place/],
      ['{"type":"FeatureCollection","features":[{', /ends in the middle/],
    ])("refuses a file that is none: %j", async (file, reason) => {
      const { name, browser } = await member();
      const answer = await browser.upload("file.txt", file);
      expect([answer.status, readable(answer.text)]).toEqual([422, expect.stringMatching(reason)]);
      expect(readable((await browser.get(`/u/${name}`)).text)).toContain("0 sheets");
    });

    it("reads other encodings and GeoJSON", async () => {
      const { browser } = await member();
      const latin = await browser.upload(
        "orte.csv",
        new Uint8Array(Buffer.from("Name;Lat;Lon\nK\xf6ln;50,94;6,96\n", "latin1")),
      );
      expect(readable((await browser.get(latin.location)).text)).toMatch(
        /orte 1 dot.*Köln 50\.94000 6\.96000/,
      );
      const feature = {
        type: "Feature",
        properties: { name: "東京 😀", big: 2 ** 53 - 1, deep: [1, { a: null }] },
        geometry: { type: "Point", coordinates: [139.7, 35.7] },
      };
      const json = await browser.upload(
        "a.geojson",
        JSON.stringify({ type: "FeatureCollection", features: [feature] }),
      );
      expect(readable((await browser.get(json.location)).text)).toMatch(
        /東京 😀 35\.70000 139\.70000 9007199254740991 \[1,\{"a":null\}\]/,
      );
    });

    it("notices that a file was uploaded before, by the same user only", async () => {
      const [one, two] = [await member(), await member()];
      const file = table(3);
      const first = await uploaded(one.browser, file);
      await uploaded(two.browser, file);
      const again = await uploaded(one.browser, file, { label: "Again" });
      const page = await one.browser.get(again);
      expect(readable(page.text)).toContain("You have uploaded exactly this file before");
      expect(page.text).toContain(`href="${first}"`);
      await one.browser.submit(again, `${again}/delete`);
      expect(readable((await one.browser.get(`/u/${one.name}`)).text)).toContain("1 sheet,");
      const anyway = await uploaded(one.browser, file, { label: "Anyway" });
      await one.browser.submit(anyway, `${anyway}/keep`);
      expect(readable((await visitor().get(anyway)).text)).toContain("3 dots by");
    });

    it("shows a private sheet to its owner only", async () => {
      const [owner, other] = [await member(), await member()];
      const sheet = await uploaded(owner.browser, table(2), {
        visibility: "private",
        label: "Secret places",
      });
      const [dot] = dotIds((await owner.browser.get(sheet)).text);
      const everywhere = [sheet, `${sheet}/dots.geojson`, `/d/${dot}`, `${sheet}/delete`];
      const seen = async (browser: Visitor) => {
        await site.settle();
        const direct = await Promise.all(everywhere.map(async (path) => (await browser.get(path)).status));
        const front = (await browser.get("/")).text.includes("Secret places");
        const listed = (await browser.get(`/u/${owner.name}`)).text.includes("Secret places");
        const mapped = (await browser.json<DotCollection>(`/u/${owner.name}/dots.geojson`)).features.length;
        return { direct, front, listed, mapped };
      };
      const hidden = { direct: [404, 404, 404, 404], front: false, listed: false, mapped: 0 };
      expect(await seen(other.browser)).toEqual(hidden);
      expect(await seen(visitor())).toEqual({ ...hidden, direct: [404, 404, 404, 303] });
      expect(await seen(owner.browser)).toEqual({
        direct: [200, 200, 200, 200],
        front: false,
        listed: true,
        mapped: 2,
      });
      for (const action of ["visibility", "delete", "keep"]) {
        const answer = await other.browser.submit("/upload", `${sheet}/${action}`, { visibility: "public" });
        expect(answer.status).toBe(404);
      }
      await owner.browser.submit(sheet, `${sheet}/visibility`, { visibility: "public" });
      expect(await seen(visitor())).toEqual({
        direct: [200, 200, 200, 303],
        front: true,
        listed: true,
        mapped: 2,
      });
      await owner.browser.submit(sheet, `${sheet}/visibility`, { visibility: "private" });
      expect(await seen(other.browser)).toEqual(hidden);
    });

    it("deletes a sheet with all its dots, and leaves tombstones", async () => {
      const { name, browser } = await member();
      const [sheet, kept] = [await uploaded(browser, table(80)), await uploaded(browser, table(3))];
      const [dot] = dotIds((await browser.get(sheet)).text);
      const [keptDot] = dotIds((await browser.get(kept)).text);
      expect(readable((await browser.get(`${sheet}/delete`)).text)).toContain(
        "Its 80 dots will be gone for good",
      );
      const answer = await browser.submit(`${sheet}/delete`, `${sheet}/delete`);
      expect([answer.status, answer.location]).toEqual([303, `/u/${name}`]);
      for (const path of [sheet, `${sheet}/dots.geojson`]) expect((await browser.get(path)).status).toBe(404);
      expect((await visitor().get(`/d/${dot}`)).status).toBe(410);
      expect((await visitor().get(`/d/${keptDot}`)).status).toBe(200);
      const id = BigInt(sheet.slice(3));
      const { fed } = site;
      const lookup = await fed.main
        .selectFrom("sheets_lookup")
        .selectAll()
        .where("id", "=", id)
        .executeTakeFirstOrThrow();
      const dots = await fed.at(lookup.user_id).selectFrom("dots").select("sheet_id").execute();
      expect(lookup.state).toBe("deleted");
      expect(dots.map((row) => row.sheet_id)).toEqual(Array(3).fill(BigInt(kept.slice(3))));
      const entries = await fed.main
        .selectFrom("dots_lookup")
        .select("deleted")
        .where("sheet_id", "=", id)
        .execute();
      expect([entries.length, entries.every((entry) => entry.deleted instanceof Date)]).toEqual([80, true]);
    });

    it("says nothing of a deleted dot that was private", async () => {
      const { browser } = await member();
      const sheet = await uploaded(browser, table(1), { visibility: "private" });
      const [dot] = dotIds((await browser.get(sheet)).text);
      await browser.submit(sheet, `${sheet}/delete`);
      expect([(await visitor().get(`/d/${dot}`)).status, (await browser.get(`/d/${dot}`)).status]).toEqual([
        404, 410,
      ]);
    });

    it("goes on with a deletion, and shows an import, that a crash has interrupted", async () => {
      const { browser } = await member();
      const { fed } = site;
      const [one, two] = [await uploaded(browser, table(5)), await uploaded(browser, table(4))];
      const ids = [one, two].map((path) => BigInt(path.slice(3)));
      const long = new Date(Date.now() - 3_600_000);
      const leave = (id: bigint, state: string) =>
        fed.main.updateTable("sheets_lookup").set({ state, touched: long }).where("id", "=", id).execute();
      await leave(ids[0]!, "deleting");
      await leave(ids[1]!, "importing");
      expect(await resumeDeletions(fed)).toBe(1);
      expect((await browser.get(one)).status).toBe(404);
      expect((await visitor().get(two)).status).toBe(404);
      expect(readable((await browser.get(two)).text)).toContain("This import was interrupted");
      await browser.submit(two, `${two}/delete`);
      expect((await browser.get(two)).status).toBe(404);
    });

    it("leaves nothing of an upload that is broken off", async () => {
      const { name, browser } = await member();
      const token = tokenOf((await browser.get("/upload")).text);
      const abort = new AbortController();
      const boundary = "xxBOUNDARYxx";
      const part = (head: string) => `--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n\r\n`;
      const head = `${part('name="token"')}${token}\r\n${part('name="file"; filename="a.csv"')}${table(80)}\n`;
      async function* body(): AsyncGenerator<Uint8Array> {
        yield new TextEncoder().encode(
          head +
            rows(700)
              .map(() => "p,1,1\n")
              .join(""),
        );
        await new Promise((resolve) => setTimeout(resolve, 700));
        abort.abort();
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      const sent = browser.send("/upload", {
        method: "POST",
        headers: { "Content-Type": `multipart/form-data; boundary=${boundary}` },
        body: ReadableStream.from(body()),
        duplex: "half",
        signal: abort.signal,
      } as RequestInit);
      await expect(sent).rejects.toThrow();
      await expect
        .poll(async () => readable((await browser.get(`/u/${name}`)).text), { timeout: 5_000 })
        .toContain("0 sheets");
      await expect.poll(() => site.errors.splice(0).length, { timeout: 5_000 }).toBeGreaterThan(0);
    });

    it("places users on shards, and knows nothing of it", async () => {
      const members = await Promise.all([member(), member(), member(), member()]);
      const sheets = await Promise.all(members.map(({ browser }) => uploaded(browser, table(2))));
      const users = await site.fed.main.selectFrom("users").select("id").execute();
      const inhabited = new Set(
        await Promise.all(users.map(async ({ id }) => (await site.fed.tenants.where(id)).shard)),
      );
      expect([...inhabited].sort()).toEqual(shards);
      for (const sheet of sheets) expect((await visitor().get(sheet)).status).toBe(200);
    });

    it("finds nothing where there is nothing", async () => {
      const paths = [
        "/s/0",
        "/s/1.5",
        "/s/99999999999",
        "/s/9223372036854775808",
        "/d/12345678901234",
        "/d/x",
        "/u/nobody",
      ];
      for (const path of [
        ...paths,
        "/u/nobody/dots.geojson",
        "/s/4711/dots.geojson",
        "/no/such/page",
        "/assets/x.js",
        "/basemap/x.geojson",
      ]) {
        expect([path, (await visitor().get(path)).status]).toEqual([path, 404]);
      }
    });
  });
}
