import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { placePage, readPageRequest } from "../src/sheets/paging.ts";

const request = fc
  .tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 19 }))
  .map(([perPage, spill]) => ({ perPage, spill: Math.min(spill, perPage - 1) }));

describe("paging", () => {
  it("puts every row on exactly one page, and folds a short last page into the one before", () => {
    fc.assert(
      fc.property(request, fc.integer({ min: 0, max: 200 }), ({ perPage, spill }, total) => {
        const at = (page: number) => placePage({ page, perPage, spill }, total);
        const { pages } = at(1);
        const rows = Array.from({ length: pages }, (_, index) => at(index + 1)).flatMap(({ offset, count }) =>
          Array.from({ length: count }, (_, row) => offset + row),
        );
        expect(rows).toEqual(Array.from({ length: total }, (_, row) => row));
        for (let page = 1; page < pages; page++) expect(at(page).count).toBe(perPage);
        if (pages > 0) expect(at(pages).count).toBeLessThanOrEqual(perPage + spill);
        if (pages > 1) expect(at(pages).count).toBeGreaterThan(spill);
        expect(at(pages + 1)).toMatchObject({ count: 0, total });
      }),
    );
  });

  it.each([
    [23, 1, { pages: 2, offset: 0, count: 10 }],
    [23, 2, { pages: 2, offset: 10, count: 13 }],
    [24, 2, { pages: 3, offset: 10, count: 10 }],
    [24, 3, { pages: 3, offset: 20, count: 4 }],
    [24, 4, { pages: 3, offset: 30, count: 0 }],
    [3, 1, { pages: 1, offset: 0, count: 3 }],
    [0, 1, { pages: 0, offset: 0, count: 0 }],
  ])("of %i rows, ten a page with a spill of three, page %i", (total, page, place) => {
    expect(placePage({ page, perPage: 10, spill: 3 }, total)).toMatchObject({ ...place, total });
  });

  it("reads what an address asks for, and makes the best of what makes no sense", () => {
    const defaults = { perPage: 50, spill: 5 };
    expect(readPageRequest({ page: "3", per_page: "20", spill: "0" }, defaults)).toEqual({
      page: 3,
      perPage: 20,
      spill: 0,
    });
    expect(readPageRequest({}, defaults)).toEqual({ page: 1, perPage: 50, spill: 5 });
    expect(readPageRequest({ page: "0", per_page: "-1", spill: "x" }, defaults)).toEqual({
      page: 1,
      perPage: 50,
      spill: 5,
    });
    expect(readPageRequest({ page: "9e9", per_page: "100000" }, defaults)).toEqual({
      page: 1,
      perPage: 500,
      spill: 5,
    });
    expect(readPageRequest({ per_page: "3" }, defaults)).toEqual({ page: 1, perPage: 3, spill: 2 });
  });
});
