import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readCoordinate } from "../src/places/coordinates.ts";

describe("a coordinate", () => {
  it.each([
    ["latitude", "34.0592814", "34.059281"],
    ["latitude", " -33.9 ", "-33.900000"],
    ["latitude", "−33.9", "-33.900000"],
    ["latitude", "34,05", "34.050000"],
    ["latitude", "34.05 N", "34.050000"],
    ["latitude", "34.05° s", "-34.050000"],
    ["longitude", "118° 15′ 36″ W", "-118.260000"],
    ["longitude", "11° 30' E", "11.500000"],
    ["longitude", "-0.0000001", "0.000000"],
    ["longitude", "1e2", "100.000000"],
    ["longitude", "180", "180.000000"],
    ["longitude", ".5", "0.500000"],
    ["longitude", -180, "-180.000000"],
  ] as const)("%s %s is read as %s", (axis, text, value) => {
    expect(readCoordinate(axis, text)).toEqual({ value });
  });

  it.each([
    ["latitude", "", "latitude is missing"],
    ["latitude", undefined, "latitude is missing"],
    ["latitude", "90.0000001", "latitude “90.0000001” is outside −90 to 90"],
    ["longitude", "181", "longitude “181” is outside −180 to 180"],
    ["longitude", "-999", "longitude “-999” is outside −180 to 180"],
    ["longitude", "east", "longitude “east” is not a number"],
    ["longitude", "1,034.05", "longitude “1,034.05” is not a number"],
    ["longitude", "0x10", "longitude “0x10” is not a number"],
    ["longitude", "Infinity", "longitude “Infinity” is not a number"],
    ["longitude", "1e999", "longitude “1e999” is not a number"],
    ["longitude", Number.NaN, "longitude “NaN” is not a number"],
    ["longitude", true, "longitude is not a number"],
    ["longitude", "34 N", "longitude “34 N” ends in N, which is no direction of a longitude"],
    ["latitude", "34° 61′ N", "latitude “34° 61′ N” has 60 or more minutes or seconds"],
  ] as const)("%s %s is refused: %s", (axis, source, problem) => {
    expect(readCoordinate(axis, source)).toEqual({ problem });
  });

  it("keeps any number within the limits to a millionth of a degree, and refuses every other", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("latitude", "longitude"),
        fc.oneof(fc.double({ noNaN: true }), fc.double({ min: -200, max: 200, noNaN: true })),
        (axis, degrees) => {
          const limit = axis === "latitude" ? 90 : 180;
          const read = readCoordinate(axis, String(degrees));
          expect(read.problem !== undefined).toBe(Math.abs(degrees) > limit);
          if (read.problem !== undefined) return;
          expect(read.value).toMatch(/^(?!-0\.0+$)-?\d{1,3}\.\d{6}$/);
          expect(Math.abs(Number(read.value) - degrees)).toBeLessThanOrEqual(0.0000005001);
        },
      ),
    );
  });
});
