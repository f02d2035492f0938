import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KeyCodec } from "../../src/directory/key-codec.ts";
import type { KeyValue, LogicalType } from "../../src/schema/logical-type.ts";

const codecOf = (key: LogicalType) => new KeyCodec({ name: "default", key });
const bigints = codecOf({ kind: "bigint" });
const texts = codecOf({ kind: "text", length: 10, caseInsensitive: false });
const uuids = codecOf({ kind: "uuid" });
const blobs = codecOf({ kind: "bytes", length: 16 });

const codeOf = (work: () => unknown): string | undefined => {
  try {
    work();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
};

describe("a key's value", () => {
  test("a bigint key is a bigint of 64 bits, or a whole number that is exact", () => {
    expect(bigints.check(2n ** 63n - 1n)).toBe(2n ** 63n - 1n);
    expect(bigints.check(12)).toBe(12n);
    expect(bigints.check(-0)).toBe(0n);
    for (const wrong of [
      2n ** 63n,
      1.5,
      Number.NaN,
      2 ** 53,
      "12",
      true,
      {},
      [],
      new Date(0),
      new Uint8Array(8),
    ]) {
      expect(codeOf(() => bigints.check(wrong))).toBe("KEY_TYPE");
    }
  });

  test("null and undefined have a code of their own, for every type", () => {
    for (const codec of [bigints, texts, uuids, blobs]) {
      expect(codeOf(() => codec.check(null))).toBe("KEY_NULL");
      expect(codeOf(() => codec.check(undefined))).toBe("KEY_NULL");
    }
  });

  test("text is counted in code points and must be what every engine keeps", () => {
    expect(texts.check("")).toBe("");
    expect(texts.check("𝄞".repeat(10))).toBe("𝄞".repeat(10));
    for (const wrong of ["12345678901", "𝄞".repeat(11), "a\0b", "\ud800", 12n])
      expect(codeOf(() => texts.check(wrong))).toBe("KEY_TYPE");
  });

  test("a UUID becomes lower case, bytes a copy", () => {
    expect(uuids.check("0190A3B2-0000-7000-8000-00000000000F")).toBe("0190a3b2-0000-7000-8000-00000000000f");
    for (const wrong of ["0190a3b2", "{0190a3b2-0000-7000-8000-00000000000f}", 1n])
      expect(codeOf(() => uuids.check(wrong))).toBe("KEY_TYPE");
    const given = Uint8Array.of(0, 1);
    const key = blobs.check(given) as Uint8Array;
    given[0] = 9;
    expect(key).toEqual(Uint8Array.of(0, 1));
    expect(blobs.check(Buffer.from([1]))).toEqual(Uint8Array.of(1));
    expect(codeOf(() => blobs.check(new Uint8Array(17)))).toBe("KEY_TYPE");
  });
});

describe("a key in a cache, in a feed, in a range", () => {
  const wellFormed = fc
    .string({ unit: "binary", maxLength: 10 })
    .filter((text) => !text.includes("\0") && text.isWellFormed());
  const cases: [string, KeyCodec, fc.Arbitrary<KeyValue>][] = [
    [
      "bigint",
      bigints,
      fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -20n, max: 20n })),
    ],
    ["text", texts, wellFormed],
    ["uuid", uuids, fc.uuid()],
    ["bytes", blobs, fc.uint8Array({ maxLength: 16 })],
  ];

  test.each(cases)(
    "%s: cache keys and texts are equal for equal keys alone; text leads back",
    (_name, codec, keys) => {
      fc.assert(
        fc.property(keys, keys, (a, b) => {
          const equal = codec.compare(a, b) === 0;
          expect(codec.cacheKey(a) === codec.cacheKey(b)).toBe(equal);
          expect(codec.toText(a) === codec.toText(b)).toBe(equal);
          expect(codec.compare(codec.fromText(codec.toText(a)), a)).toBe(0);
        }),
      );
    },
  );

  test.each(cases)("%s: compare is the order of the bytes that are stored", (name, codec, keys) => {
    fc.assert(
      fc.property(keys, keys, (a, b) => {
        const [bytesA, bytesB] = [Buffer.from(codec.toBytes(a)), Buffer.from(codec.toBytes(b))];
        if (name === "bigint") {
          // Two's complement, whose sign comes first: turned round, the bytes order as the numbers do.
          bytesA[0] = (bytesA[0] as number) ^ 0x80;
          bytesB[0] = (bytesB[0] as number) ^ 0x80;
        }
        expect(Math.sign(codec.compare(a, b))).toBe(Math.sign(Buffer.compare(bytesA, bytesB)));
        expect(codec.compare(codec.smallest, a)).toBeLessThanOrEqual(0);
      }),
    );
  });

  test("text that is no key is refused", () => {
    expect(codeOf(() => bigints.fromText("twelve"))).toBe("KEY_TYPE");
    expect(codeOf(() => blobs.fromText("0"))).toBe("KEY_TYPE");
  });
});
