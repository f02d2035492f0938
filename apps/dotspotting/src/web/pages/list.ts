import { html, raw } from "hono/html";
import type { PagePlace } from "../../sheets/paging.ts";
import type { SheetSummary } from "../../sheets/sheets.ts";
import { ago, count, counted, type Html } from "./text.ts";

/** Sheets as cards, each with a stamp-sized picture of its dots. */
export function sheetCards(sheets: readonly SheetSummary[], options: { showUser: boolean }): Html {
  return html`<ul class="cards">${sheets.map((sheet) => card(sheet, options.showUser))}</ul>`;
}

function card(sheet: SheetSummary, showUser: boolean): Html {
  return html`<li class="card">
    <a class="stamp" href="/s/${sheet.id}" tabindex="-1" aria-hidden="true">${stamp(sheet.preview)}</a>
    <div class="card-text">
      <h3><a href="/s/${sheet.id}">${sheet.label}</a></h3>
      <p class="muted">${counted(sheet.dots, "dot")}${showUser ? html` by <a href="/u/${sheet.userName}">${sheet.userName}</a>` : ""}, ${ago(sheet.created)}</p>
      ${badges(sheet)}
    </div>
  </li>`;
}

/** What is particular about a sheet; nothing for one that is public and complete. */
export function badges(sheet: Pick<SheetSummary, "visibility" | "state" | "interrupted">): Html {
  const words = [
    sheet.visibility === "private" ? ["private", "Private"] : undefined,
    sheet.state === "draft" ? ["draft", "Waits for your decision"] : undefined,
    sheet.state === "importing"
      ? sheet.interrupted
        ? ["bad", "Interrupted"]
        : ["busy", "Being imported"]
      : undefined,
    sheet.state === "deleting" ? ["busy", "Being deleted"] : undefined,
  ].filter((word) => word !== undefined);
  if (words.length === 0) return html``;
  return html`<p class="badges">${words.map(([kind, word]) => html`<span class="badge ${kind}">${word}</span>`)}</p>`;
}

function stamp(points: readonly number[]): Html {
  let path = "";
  for (let at = 0; at + 1 < points.length; at += 2)
    path += `M${Number(points[at])} ${Number(points[at + 1])}h0`;
  return html`<svg viewBox="-60 -60 1120 1120" preserveAspectRatio="xMidYMid meet"><path d="${raw(path)}"/></svg>`;
}

/** Links to the other pages of a list. `address` is where the list is, without page, per_page and spill; it may have a query of its own. */
export function pageLinks(
  place: PagePlace,
  address: string,
  defaults: { perPage: number; spill: number },
  what: string,
): Html {
  const { page, pages, total } = place;
  if (pages <= 1 && page === 1) return html``;
  const to = (number: number) => {
    const query = new URLSearchParams();
    if (number > 1) query.set("page", String(number));
    if (place.perPage !== defaults.perPage) query.set("per_page", String(place.perPage));
    if (place.spill !== defaults.spill) query.set("spill", String(place.spill));
    return query.size === 0 ? address : `${address}${address.includes("?") ? "&" : "?"}${query}`;
  };
  const around = [...new Set([1, page - 1, page, page + 1, pages])].filter(
    (number) => number >= 1 && number <= pages,
  );
  const numbers = around.map((number, index) => {
    const gap =
      index > 0 && number - around[index - 1]! > 1 ? html`<li class="gap" aria-hidden="true">…</li>` : "";
    const current = number === page ? raw(' aria-current="page"') : "";
    return html`${gap}<li><a href="${to(number)}"${current} aria-label="Page ${number}">${count(number)}</a></li>`;
  });
  return html`<nav class="pages" aria-label="Pages of ${what}">
    <ul>
      <li>${page > 1 && pages > 0 ? html`<a rel="prev" href="${to(Math.min(page - 1, pages))}">← Previous</a>` : html`<span>← Previous</span>`}</li>
      ${numbers}
      <li>${page < pages ? html`<a rel="next" href="${to(page + 1)}">Next →</a>` : html`<span>Next →</span>`}</li>
    </ul>
    <p class="muted">Page ${count(page)} of ${count(pages)}, ${count(total)} in all</p>
  </nav>`;
}

/** The part of a page that a map is made in; the script finds it by its class. */
export function mapBox(options: {
  readonly label: string;
  readonly dots?: string;
  readonly bounds?: readonly number[] | null;
  readonly point?: readonly [longitude: string, latitude: string];
  readonly size?: "tall" | "low";
}): Html {
  const { label, dots, bounds, point, size = "tall" } = options;
  const data = [
    dots ? html` data-dots="${dots}"` : "",
    bounds ? html` data-bounds="${bounds.join(",")}"` : "",
    point ? html` data-point="${point.join(",")}"` : "",
  ];
  return html`<div class="map ${size}" role="region" aria-label="${label}"${data}>
    <p class="map-note"><span>Loading the map…</span><noscript>The map needs JavaScript.</noscript></p>
  </div>`;
}
