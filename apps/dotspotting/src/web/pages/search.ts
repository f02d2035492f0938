import { html } from "hono/html";
import type { SearchedDot } from "../../search/search-dots.ts";
import { type After, type SearchFields, searchQuery } from "../../search/search-request.ts";
import { mapBox } from "./list.ts";
import { ago, degrees, type Html, moment } from "./text.ts";

export interface SearchAnswer {
  readonly dots: readonly SearchedDot[];
  readonly next: After | undefined;
  readonly isFirst: boolean;
  /** The names of the dots' owners. */
  readonly owners: ReadonlyMap<bigint, string>;
}

/** The form, and what was found: newest first, on a map and in a table. */
export function searchPage(fields: SearchFields, answer: SearchAnswer | { readonly problem: string }): Html {
  return html`<div class="heading"><div>
      <h1>Search</h1>
      <p class="muted">Everybody’s public dots, the newest first.</p>
    </div></div>
    ${searchForm(fields)}
    ${"problem" in answer ? html`<section class="notice" role="alert"><p>${answer.problem}</p></section>` : found(fields, answer)}`;
}

function searchForm(fields: SearchFields): Html {
  const { q, field, value, from, to, box, near, km } = fields;
  const isNarrowed = [field, from, to, box, near].some((text) => text !== "");
  return html`<form method="get" action="/search" class="panel search-form" role="search">
    <div class="search-words">
      <label class="field"><span>Words</span><input type="search" name="q" value="${q}" maxlength="200" placeholder="harbour, Kiel, 1992"></label>
      <button class="button">Search</button>
    </div>
    <details${isNarrowed ? html` open` : ""}>
      <summary>Narrow it down</summary>
      <div class="search-fields">
        <label class="field"><span>Column</span><input name="field" value="${field}" maxlength="200"></label>
        <label class="field"><span>has the value</span><input name="value" value="${value}" maxlength="200"></label>
        <label class="field"><span>From</span><input type="date" name="from" value="${from}"></label>
        <label class="field"><span>to</span><input type="date" name="to" value="${to}"></label>
        <label class="field"><span>Near (latitude, longitude)</span><input name="near" value="${near}" maxlength="60" placeholder="54.32, 10.13"></label>
        <label class="field"><span>within kilometres</span><input name="km" value="${km}" maxlength="10" inputmode="decimal" placeholder="50"></label>
        <label class="field wide"><span>Inside (west, south, east, north)</span><input name="box" value="${box}" maxlength="80" placeholder="-10, 50, 2, 60"></label>
      </div>
    </details>
  </form>`;
}

function found(fields: SearchFields, answer: SearchAnswer): Html {
  const { dots, next, isFirst } = answer;
  const onwards = next
    ? html`<nav class="pages" aria-label="Pages of dots"><ul><li><a rel="next" href="/search?${searchQuery(fields, next)}">Older →</a></li></ul></nav>`
    : "";
  if (dots.length === 0) {
    const text = next
      ? "Nothing among the newest dots. Older ones were not looked at yet."
      : isFirst
        ? "No public dot is like that."
        : "There are no older ones.";
    return html`<p class="empty">${text}</p>${onwards}`;
  }
  const query = searchQuery(fields);
  return html`${isFirst ? mapBox({ label: "Map of the dots found", dots: `/search.geojson${query ? `?${query}` : ""}` }) : ""}
    <section aria-labelledby="found">
      <h2 id="found">${isFirst ? "Newest" : "Older"} dots</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Table of dots">
        <table class="dots">
          <thead><tr>
            <th scope="col">Name</th><th scope="col">Sheet</th><th scope="col">When</th><th scope="col" class="number">Latitude</th><th scope="col" class="number">Longitude</th><th scope="col">Added</th>
          </tr></thead>
          <tbody>${dots.map((dot) => row(dot, answer.owners))}</tbody>
        </table>
      </div>
      ${onwards}
    </section>`;
}

function row(dot: SearchedDot, owners: ReadonlyMap<bigint, string>): Html {
  const owner = owners.get(dot.userId);
  return html`<tr>
    <th scope="row"><a href="/d/${dot.id}">${dot.label || "Unnamed"}</a></th>
    <td><a href="/s/${dot.sheetId}">${dot.sheetLabel}</a>${owner ? html` by <a href="/u/${owner}">${owner}</a>` : ""}</td>
    <td class="when">${dot.happened ? moment(dot.happened) : ""}</td>
    <td class="number">${degrees(dot.latitude)}</td><td class="number">${degrees(dot.longitude)}</td>
    <td class="when">${ago(dot.created)}</td>
  </tr>`;
}
