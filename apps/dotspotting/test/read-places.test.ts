import { createReadStream } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JsonElements } from "../src/places/json-elements.ts";
import { readingLimits } from "../src/places/place.ts";
import { openPlaces } from "../src/places/read-places.ts";
import { chunked, collect } from "./pieces.ts";

async function read(text: string, cuts: readonly number[] = [], limits = readingLimits) {
  const file = await openPlaces(chunked(Buffer.from(text), cuts), limits);
  const rows = await collect(file.rows);
  const { format, columns } = file;
  return {
    format,
    columns,
    rows,
    encoding: file.encoding(),
    fingerprint: file.fingerprint(),
    bytes: file.bytes(),
  };
}

describe("a table of places", () => {
  it("is read whatever its columns are called, with everything else as details", async () => {
    const { rows, columns, format } = await read(
      " Name ;LAT;Long;Date;color\nKiel;54,32;10,13;1.2.2003; red \n",
    );
    expect(format).toBe("CSV");
    expect(columns).toEqual(["Date", "color"]);
    expect(rows).toEqual([
      {
        line: 2,
        place: {
          latitude: "54.320000",
          longitude: "10.130000",
          label: "Kiel",
          happened: new Date("2003-02-01T00:00:00Z"),
          details: { Date: "1.2.2003", color: "red" },
        },
      },
    ]);
  });

  it.each(["\n", "\r\n", "\r"])(
    "names a bad row with the line it begins on (lines end in %j)",
    async (end) => {
      const lines = [
        "name,lat,lon,notes",
        'a,1,2,"two',
        'lines"',
        "b,,2,",
        "",
        "c,91,200,",
        ",,,",
        "d,4,5,6,7",
        "e,6,7",
      ];
      const { rows } = await read(lines.join(end) + end);
      expect(rows.map((row) => [row.line, row.place?.label ?? row.problem])).toEqual([
        [2, "a"],
        [4, "latitude is missing"],
        [6, "latitude “91” is outside −90 to 90; longitude “200” is outside −180 to 180"],
        [8, "there are 5 cells where the first line names 4 columns"],
        [9, "e"],
      ]);
    },
  );

  it("names its place after two columns where one name is in two", async () => {
    const { rows, columns } = await read("first_name,last_name,x,y\nGrace,Field,1,2\n");
    expect(rows[0]?.place?.label).toBe("Grace Field");
    expect(columns).toEqual(["first_name", "last_name"]);
  });

  it("keeps columns with blank, repeated and strange names", async () => {
    const { rows } = await read("lat,lon,name,,a,a,__proto__\n1,2,n,3,4,5,6\n");
    expect(Object.entries(rows[0]!.place!.details)).toEqual([
      ["column 4", "3"],
      ["a", "4"],
      ["a 2", "5"],
      ["__proto__", "6"],
    ]);
  });

  it("refuses a file that has no coordinates, saying what it has", async () => {
    await expect(read("name,city\na,b\n")).rejects.toThrow(
      /no latitude and no longitude column.*this one has: name, city/,
    );
    await expect(read("lat,city\n1,b\n")).rejects.toThrow(/no longitude column/);
    await expect(read("")).rejects.toThrow(/empty/);
    await expect(read(" \n \n")).rejects.toThrow(/empty/);
  });

  it("refuses a file whose quotes never close, and one with too many rows", async () => {
    await expect(read('lat,lon\n1,"2\n3,4\n')).rejects.toThrow(/never closed/);
    const limits = { ...readingLimits, recordCharactersMax: 200, rowsMax: 3 };
    await expect(read(`lat,lon\n1,"2${"\n3,4".repeat(200)}`, [], limits)).rejects.toThrow(
      /longer than can be read/,
    );
    await expect(read("lat,lon\n1,2\n1,2\n1,2\n1,2\n", [], limits)).rejects.toThrow(/more than 3 rows/);
  });

  it("refuses rows that no database could keep", async () => {
    const { rows } = await read('name,lat,lon,n\na\0,1,2,\nb,1,2,x\0\nc,1,2,"\\u0000"\n');
    expect(rows.map((row) => row.problem)).toEqual([
      "the name contains a NUL character",
      "a value contains a NUL character",
      undefined,
    ]);
  });

  it("gives the same rows however the file is cut", async () => {
    const cell = fc.string({
      unit: fc.constantFrom("a", "é", "\n", '"', ",", ";", "\t", " ", "😀", "1"),
      maxLength: 6,
    });
    const row = fc.tuple(
      cell,
      fc.constantFrom("1", "91", "", "x"),
      fc.constantFrom("2.5", "-181", "0"),
      cell,
    );
    const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 8 }),
        sizes,
        fc.constantFrom(",", ";", "\t"),
        async (rows, cuts, by) => {
          const written = rows.map((cells) =>
            cells.map((text) => `"${text.replaceAll('"', '""')}"`).join(by),
          );
          const text = [["name", "lat", "lon", "note"].join(by), ...written].join("\n");
          const whole = await read(text);
          expect(await read(text, cuts)).toEqual(whole);
          const kept = rows.filter(([, lat, lon]) => lat === "1" && lon !== "-181");
          const places = whole.rows.filter((each) => each.place).map((each) => each.place!);
          expect(places.map((place) => [place.label, place.details["note"]])).toEqual(
            kept.map(([name, , , note]) => [name.replace(/\s+/g, " ").trim(), note.trim()]),
          );
          expect(whole.rows).toHaveLength(rows.length);
        },
      ),
    );
  });
});

describe("GeoJSON", () => {
  const point = (name: unknown, ...coordinates: unknown[]) => ({
    type: "Feature",
    properties: { name, "[{": '"}' },
    geometry: { type: "Point", coordinates },
  });

  it("gives a dot for each point, and names the features that are none", async () => {
    const features = [
      point("a", 10.5, 54.3),
      point("b", 200, 54.3, 5),
      { type: "Feature", properties: null, geometry: { type: "Polygon", coordinates: [] } },
      { type: "Feature", id: 7, geometry: { type: "MultiPoint", coordinates: [[1, 2, 3]] } },
      { type: "Feature", geometry: null },
      point("c", "1", 2),
      point("\ud800", 1, 2),
      null,
    ];
    const collection = {
      type: "FeatureCollection",
      bbox: [1, [2]],
      x: { features: [] },
      features,
      after: [{}, "]"],
    };
    const { rows, format, columns } = await read(
      JSON.stringify(collection, null, 1).replaceAll("}, {", "},\n{"),
    );
    expect(format).toBe("GeoJSON");
    expect(columns).toEqual(["[{", "z", "id"]);
    expect(rows.map((row) => row.place?.label ?? row.problem)).toEqual([
      "a",
      "longitude “200” is outside −180 to 180",
      "only points become dots, this is a Polygon",
      "",
      "the feature has no geometry",
      "c",
      "a value contains half of a character (an unpaired surrogate)",
      "this is no GeoJSON feature",
    ]);
    expect(rows[3]?.place).toMatchObject({
      longitude: "1.000000",
      latitude: "2.000000",
      details: { z: 3, id: 7 },
    });
  });

  it("may be one feature alone", async () => {
    expect((await read(JSON.stringify(point("a", 1, 2)))).rows).toHaveLength(1);
  });

  it("is refused when it is cut off, or something else", async () => {
    const text = JSON.stringify({
      type: "FeatureCollection",
      features: [point("a", 1, 2), point("b", 1, 2)],
    });
    for (let length = 1; length < text.length; length++) {
      await expect(read(text.slice(0, length)), text.slice(0, length)).rejects.toThrow(/ends in the middle/);
    }
    await expect(read('{"type":"Topology","objects":{}}')).rejects.toThrow(/no list called “features”/);
    await expect(read('{"features":{"features":[1]}}')).rejects.toThrow(/no list called “features”/);
  });

  it("keeps to its limit for one feature", async () => {
    const limits = { ...readingLimits, recordCharactersMax: 300 };
    const text = JSON.stringify({ features: [point("a", 1, 2), point("b".repeat(400), 1, 2)] });
    await expect(read(text, [], limits)).rejects.toThrow(/feature is longer/);
  });

  it("is cut into the elements that JSON.parse would find", async () => {
    const pieces = fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue(),
        fc.array(fc.jsonValue()),
        pieces,
        fc.boolean(),
        async (other, list, cuts, wide) => {
          const text = JSON.stringify({ other, features: list, "after]": other }, null, wide ? 2 : 0);
          const elements = new JsonElements("features", 1_000_000);
          const found = await collect(elements.read(chunked(text, cuts)));
          expect(found.map((element) => JSON.parse(element.text))).toEqual(JSON.parse(JSON.stringify(list)));
          const lines = text.split("\n");
          for (const { line, text: element } of found)
            expect(lines[line - 1]).toContain(element.split("\n")[0]);
        },
      ),
    );
  });
});

const shared = new URL("../sample/", import.meta.url);

describe("the sample files", () => {
  it.each(["airports.csv", "earthquakes.geojson", "zip-codes.csv"])(
    "%s is read without a bad row",
    async (name) => {
      const file = await openPlaces(createReadStream(new URL(name, shared)));
      const rows = await collect(file.rows);
      expect(rows.length).toBeGreaterThan(20);
      expect(rows.filter((row) => row.problem)).toEqual([]);
    },
  );
});
