import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Preview } from "../src/sheets/preview.ts";

describe("a preview", () => {
  it("keeps the bounds of all dots and some of the dots, within its square", () => {
    const dot = fc.tuple(
      fc.double({ min: -180, max: 180, noNaN: true }),
      fc.double({ min: -90, max: 90, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(dot, { minLength: 1, maxLength: 700 }), (dots) => {
        const preview = new Preview();
        for (const [longitude, latitude] of dots) preview.add(longitude, latitude);
        const points = preview.points();
        expect(points.length).toBe(2 * Math.min(dots.length, 300));
        for (const value of points) expect(Number.isInteger(value) && value >= 0 && value <= 1000).toBe(true);
        const [west, south, east, north] = preview.bounds!;
        expect([west, east]).toEqual([Math.min(...dots.map(([x]) => x)), Math.max(...dots.map(([x]) => x))]);
        expect([south, north]).toEqual([
          Math.min(...dots.map(([, y]) => y)),
          Math.max(...dots.map(([, y]) => y)),
        ]);
      }),
      { numRuns: 50 },
    );
  });

  it("is empty without dots", () => {
    expect([new Preview().points(), new Preview().bounds]).toEqual([[], null]);
  });
});
