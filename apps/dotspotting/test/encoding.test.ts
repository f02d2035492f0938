import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TextReader } from "../src/places/encoding.ts";
import { chunked, collect } from "./pieces.ts";

async function decode(
  bytes: Uint8Array,
  sizes: readonly number[],
): Promise<{ text: string; encoding: string }> {
  const reader = new TextReader();
  const text = (await collect(reader.read(chunked(bytes, sizes)))).join("");
  return { text, encoding: reader.encoding };
}

const sizes = fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 20 });

describe("the encoding of a file", () => {
  it("is UTF-8 for any text that was written as UTF-8, however it is cut into chunks", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary" }), sizes, async (text, cuts) => {
        fc.pre(!/^(PK|%PDF|\uFEFF)/.test(text) && !text.slice(0, 4).includes("\0"));
        expect((await decode(Buffer.from(text, "utf8"), cuts)).text).toBe(text);
      }),
    );
  });

  it("is taken from a byte order mark, which is no part of the text", async () => {
    const text = "name,lat,lon\nÅre,63.4,13.1\n東京,35.7,139.7\n😀,1,2\n";
    const little = Buffer.from(`\uFEFF${text}`, "utf16le");
    const big = Buffer.from(little).swap16();
    for (const [bytes, encoding] of [
      [Buffer.from(`\uFEFF${text}`, "utf8"), "UTF-8"],
      [little, "UTF-16LE"],
      [big, "UTF-16BE"],
      [little.subarray(2), "UTF-16LE"],
      [big.subarray(2), "UTF-16BE"],
    ] as const) {
      expect(await decode(bytes, [1, 2, 3, 5])).toEqual({ text, encoding });
    }
  });

  it("is Windows-1252 where the first sign above ASCII is not UTF-8", async () => {
    const bytes = Buffer.from("name,lat,lon\nCaf\xe9 \x80 \x93Stra\xdfe\x94,48.1,11.5\n", "latin1");
    for (const cuts of [[], [1], [17], [18], [3, 100]]) {
      expect(await decode(bytes, cuts)).toEqual({
        text: "name,lat,lon\nCafé € “Straße”,48.1,11.5\n",
        encoding: "Windows-1252",
      });
    }
  });

  it("is Windows-1252 where the file ends in the middle of what could have been UTF-8", async () => {
    expect(await decode(Buffer.from("abcd\xc3", "latin1"), [1])).toEqual({
      text: "abcdÃ",
      encoding: "Windows-1252",
    });
  });

  it("refuses what is no text, with advice", async () => {
    await expect(decode(Buffer.from("PK\x03\x04rest", "latin1"), [2])).rejects.toThrow(
      /Save the sheet as CSV/,
    );
    await expect(decode(Buffer.from("%PDF-1.7", "latin1"), [])).rejects.toThrow(/PDF/);
  });
});
