/** Which page of a list is asked for. */
export interface PageRequest {
  /** From 1. */
  readonly page: number;
  readonly perPage: number;
  /** A last page with at most this many rows is folded into the one before. */
  readonly spill: number;
}

/** Where that page lies in the list. */
export interface PagePlace extends PageRequest {
  readonly total: number;
  /** How many pages there are; 0 for an empty list. */
  readonly pages: number;
  readonly offset: number;
  /** Rows on this page; 0 for a page past the end. */
  readonly count: number;
}

/**
 * Places a page in a list of `total` rows. Every row is on exactly one page; no page has more than
 * `perPage + spill` rows, and none but the only one has `spill` or fewer.
 *
 * @example
 * placePage({ page: 2, perPage: 10, spill: 3 }, 23).count; // 13: the three rows of a third page are folded in
 */
export function placePage(request: PageRequest, total: number): PagePlace {
  const { page, perPage, spill } = request;
  let pages = Math.ceil(total / perPage);
  if (pages > 1 && total - (pages - 1) * perPage <= spill) pages--;
  const offset = (page - 1) * perPage;
  const count = page < pages ? perPage : page === pages ? total - offset : 0;
  return { page, perPage, spill, total, pages, offset, count };
}

const perPageMax = 500;

/** Reads `page`, `per_page` and `spill` of a query; what is missing or makes no sense becomes the default. */
export function readPageRequest(
  query: Record<string, string>,
  defaults: { perPage: number; spill: number },
): PageRequest {
  const perPage = Math.min(wholeNumber(query["per_page"], 1) ?? defaults.perPage, perPageMax);
  // A spill as large as a page would fold whole pages.
  const spill = Math.min(wholeNumber(query["spill"], 0) ?? defaults.spill, perPage - 1);
  return { page: wholeNumber(query["page"], 1) ?? 1, perPage, spill };
}

function wholeNumber(text: string | undefined, min: number): number | undefined {
  if (!/^\d{1,9}$/.test(text ?? "")) return undefined;
  return Number(text) >= min ? Number(text) : undefined;
}
