/** The search: what is read from an address, what is compared, and what is found over all shards. */
import { forEachEngine } from "@tesserae/test-support";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { boxAround, distanceKm } from "../src/search/distance.ts";
import { makeOlderSheetsSearchable } from "../src/search/dot-texts.ts";
import { readSearchFields, readSearchRequest, searchQuery } from "../src/search/search-request.ts";
import { dotText, fieldPattern, normalise, wordPattern } from "../src/search/search-text.ts";
import { openFreshSite, type Site } from "./site.ts";
import { dotIds, readable, Visitor } from "./visitor.ts";

const request = (query: Record<string, string>) => readSearchRequest(readSearchFields(query), query["after"]);

describe("what is looked for", () => {
  it("is read from an address", () => {
    const read = request({
      q: "  old  harbour ",
      field: "kind",
      value: "pier",
      from: "2024-02-29",
      to: "2024-02-29",
      box: "170,-20,-170,-10",
      near: "54.32, 10.13",
      after: "1700000000000-9223372036854775807",
    });
    expect(read).toEqual({
      words: ["old", "harbour"],
      field: { name: "kind", value: "pier" },
      from: new Date("2024-02-29T00:00:00Z"),
      until: new Date("2024-03-01T00:00:00Z"),
      box: { west: 170, south: -20, east: -170, north: -10 },
      near: { latitude: 54.32, longitude: 10.13, km: 50 },
      after: { created: new Date(1_700_000_000_000), id: 9_223_372_036_854_775_807n },
    });
  });

  it.each([
    [{ from: "2023-02-29" }, "not a day"],
    [{ from: "2024-01-02", to: "2024-01-01" }, "before the first"],
    [{ box: "1,2,3" }, "west, south, east, north"],
    [{ box: "1,60,2,50" }, "outside the world"],
    [{ near: "91,0" }, "latitude, longitude"],
    [{ near: "1,1", km: "-5" }, "kilometres"],
    [{ near: "1,1", km: "1e3" }, "kilometres"],
    [{ value: "x" }, "which column"],
    [{ field: "x" }, "what is to stand"],
    [{ q: "a b c d e f g h i" }, "at most 8"],
  ])("is refused with a reason: %j", (query, reason) => {
    expect(() => request(query as Record<string, string>)).toThrow(reason);
  });

  it("goes into an address and out of it again", () => {
    const fields = readSearchFields({ q: "a&b=c", field: "x y", value: "ü" });
    const query = searchQuery(fields, { created: new Date(5), id: 7n });
    const again = Object.fromEntries(new URLSearchParams(query));
    expect(readSearchFields(again)).toEqual(fields);
    expect(again["after"]).toBe("5-7");
  });
});

describe("texts", () => {
  it("are compared without regard to case, width and white space", () => {
    expect(normalise("  ＫＩＥＬ\t  Förde ")).toBe("kiel förde");
    expect(dotText({ label: "Kiel", details: { Harbour: "Yes", Empty: "", Depth: 12, Ok: true } })).toBe(
      "\nkiel\nharbour=yes\ndepth=12\nok=true\n",
    );
  });

  it("have no sign in them that a pattern takes for more than itself", () => {
    expect(wordPattern("100%_\\")).toBe("%100％＿＼%");
    expect(dotText({ label: "100%", details: {} })).toContain(normalise("100%"));
    expect(fieldPattern("A_b", "x")).toBe("%\na＿b=x\n%");
  });
});

describe("distances", () => {
  it("are those of the globe", () => {
    const kiel = { latitude: 54.3233, longitude: 10.1228 };
    expect(distanceKm(kiel, { latitude: 59.9139, longitude: 10.7522 })).toBeCloseTo(622.9, 0);
    expect(distanceKm({ latitude: 0, longitude: 179.9 }, { latitude: 0, longitude: -179.9 })).toBeCloseTo(
      22.2,
      1,
    );
  });

  it("have a box around them that holds the whole circle", () => {
    const degrees = (low: number, high: number) =>
      fc.double({ min: low, max: high, noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(
        degrees(-90, 90),
        degrees(-180, 180),
        degrees(0.001, 20_000),
        degrees(-90, 90),
        degrees(-180, 180),
        (latitude, longitude, km, otherLatitude, otherLongitude) => {
          const other = { latitude: otherLatitude, longitude: otherLongitude };
          fc.pre(distanceKm({ latitude, longitude }, other) <= km);
          const { west, south, east, north } = boxAround({ latitude, longitude, km });
          const isBetween =
            west <= east
              ? otherLongitude >= west && otherLongitude <= east
              : otherLongitude >= west || otherLongitude <= east;
          expect(isBetween && otherLatitude >= south && otherLatitude <= north).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });
});

forEachEngine(({ name: engine }) => {
  describe(`a search over all shards on ${engine}`, () => {
    let site: Site;
    let [ada, bo]: Visitor[] = [];

    beforeAll(async () => {
      site = await openFreshSite(engine, { sharded: true });
      [ada, bo] = [new Visitor(site.address), new Visitor(site.address)];
      await ada!.signUp("ada");
      await bo!.signUp("bo");
      const towns = `name,lat,lon,when,kind
Kiel,54.3233,10.1228,1992-04-30,Harbour
Oslo,59.9139,10.7522,1993-05-01,Harbour town
100% Bergen,60.3913,5.3221,,Harbour
`;
      expect((await ada!.upload("towns.csv", towns)).location).toMatch(/^\/s\//);
      const islands = `name,lat,lon,kind
Fehmarn,54.4378,11.1935,island
Taveuni,-16.85,179.97,island
Vanua Balavu,-17.23,-178.95,Harbour
`;
      expect((await bo!.upload("islands.csv", islands)).location).toMatch(/^\/s\//);
      expect(
        (
          await bo!.upload("secret.csv", "name,lat,lon,kind\nKiel hideout,54.32,10.12,Harbour\n", {
            visibility: "private",
          })
        ).location,
      ).toMatch(/^\/s\//);
    });

    afterAll(async () => {
      await site.close();
      expect(site.errors).toEqual([]);
    });

    /** The labels found, newest first; the next page's address, if there is one. */
    async function find(query: string, visitor = new Visitor(site.address)) {
      const { status, text } = await visitor.get(`/search?${query}`);
      expect(status).toBe(200);
      const labels = [...text.matchAll(/href="\/d\/\d+">([^<]*)</g)].map((match) => match[1]!);
      return labels;
    }

    it("has users on both shards", async () => {
      const places = await Promise.all(
        (await site.fed.main.selectFrom("users").select("id").execute()).map(({ id }) =>
          site.fed.tenants.where(id),
        ),
      );
      expect(new Set(places.map(({ shard }) => shard)).size).toBe(2);
    });

    it("finds everybody's public dots, newest first, and nobody's private ones", async () => {
      const all = ["Vanua Balavu", "Taveuni", "Fehmarn", "100% Bergen", "Oslo", "Kiel"];
      expect(await find("")).toEqual(all);
      expect(await find("", bo)).toEqual(all);
      expect(await find("q=hideout", bo)).toEqual([]);
    });

    it("finds by words, whole values, days, boxes and distances, and all of them together", async () => {
      expect(await find("q=KIEL")).toEqual(["Kiel"]);
      expect(await find("q=harbour+o")).toEqual(["Vanua Balavu", "100% Bergen", "Oslo", "Kiel"]);
      expect(await find(`q=${encodeURIComponent("100%")}`)).toEqual(["100% Bergen"]);
      expect(await find(`q=${encodeURIComponent("%")}`)).toEqual(["100% Bergen"]);
      expect(await find("field=Kind&value=harbour")).toEqual(["Vanua Balavu", "100% Bergen", "Kiel"]);
      expect(await find("from=1992-04-30&to=1992-04-30")).toEqual(["Kiel"]);
      expect(await find("from=1993-01-01")).toEqual(["Oslo"]);
      expect(await find("box=5,54,12,60")).toEqual(["Fehmarn", "Oslo", "Kiel"]);
      expect(await find("box=179,-20,-178,-10")).toEqual(["Vanua Balavu", "Taveuni"]);
      expect(await find("near=54.32,10.13&km=80")).toEqual(["Fehmarn", "Kiel"]);
      expect(await find("near=-17,179.9&km=150")).toEqual(["Vanua Balavu", "Taveuni"]);
      expect(await find("near=54.32,10.13&km=80&q=harbour")).toEqual(["Kiel"]);
    });

    it("says what is wrong with a question", async () => {
      const { status, text } = await new Visitor(site.address).get("/search?near=north");
      expect([status, readable(text)]).toEqual([
        400,
        expect.stringContaining("latitude, longitude: 54.32, 10.13"),
      ]);
    });

    it("gives the dots of the answer to the map", async () => {
      const { features } = await new Visitor(site.address).json<{
        features: { properties: { label: string } }[];
      }>("/search.geojson?q=harbour");
      expect(features.map(({ properties }) => properties.label)).toEqual([
        "Vanua Balavu",
        "100% Bergen",
        "Oslo",
        "Kiel",
      ]);
    });

    it("goes through a long list page by page, each dot once", async () => {
      const rows = Array.from({ length: 130 }, (_, row) => `beacon ${row + 1},${row / 10},1`);
      const sheet = (await ada!.upload("beacons.csv", ["name,lat,lon", ...rows].join("\n"))).location;
      const seen: string[] = [];
      let pages = 0;
      for (let path: string | undefined = "/search?q=beacon"; path !== undefined; pages++) {
        const { text } = await new Visitor(site.address).get(path);
        seen.push(...dotIds(text));
        path = /rel="next" href="([^"]+)"/.exec(text)?.[1]?.replaceAll("&amp;", "&");
      }
      expect([pages, seen.length, new Set(seen).size]).toEqual([3, 130, 130]);
      expect(seen.map(BigInt)).toEqual(seen.map(BigInt).sort((a, b) => (a < b ? 1 : -1)));
      await ada!.submit(sheet, `${sheet}/visibility`, { visibility: "private" });
      expect(await find("q=beacon")).toEqual([]);
      await ada!.submit(`${sheet}/delete`, `${sheet}/delete`);
      const left = await site.fed.everywhere
        .selectFrom("dot_texts")
        .select((eb) => eb.fn.countAll().as("texts"))
        .executeTakeFirstOrThrow();
      expect(BigInt(left.texts)).toBe(7n);
    });

    it("shows nothing of a sheet that main has hidden and its shard has not yet", async () => {
      const { id } = await site.fed.main
        .selectFrom("sheets_lookup")
        .select("id")
        .where("label", "=", "islands")
        .executeTakeFirstOrThrow();
      const hide = (visibility: string) =>
        site.fed.main.updateTable("sheets_lookup").set({ visibility }).where("id", "=", id).execute();
      await hide("private");
      expect(await find("q=fehmarn")).toEqual([]);
      await hide("public");
      expect(await find("q=fehmarn")).toEqual(["Fehmarn"]);
    });

    it("makes dots searchable that were imported before there was a search", async () => {
      await site.fed.main.deleteFrom("searchable_sheets").execute();
      for await (const { key } of site.fed.tenants.list())
        await site.fed.at(key).deleteFrom("dot_texts").execute();
      expect(await find("q=kiel")).toEqual([]);
      expect(await makeOlderSheetsSearchable(site.fed)).toBe(3);
      expect(await find("q=kiel")).toEqual(["Kiel"]);
      expect(await makeOlderSheetsSearchable(site.fed)).toBe(0);
    });

    it("finds the dots of a user who has moved", async () => {
      const { id } = await site.fed.main
        .selectFrom("users")
        .select("id")
        .where("name", "=", "ada")
        .executeTakeFirstOrThrow();
      const { shard } = await site.fed.tenants.where(id);
      const moving = site.fed.moves.move(id, { to: 3 - shard });
      for (let asked = 0; asked < 10; asked++) expect(await find("q=kiel")).toEqual(["Kiel"]);
      await moving;
      expect(await find("q=kiel")).toEqual(["Kiel"]);
    });
  });
});
