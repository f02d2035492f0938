import { html } from "hono/html";
import type { User } from "../../accounts/users.ts";
import type { PagePlace } from "../../sheets/paging.ts";
import type { Sheet, SheetSummary } from "../../sheets/sheets.ts";
import { mapBox, pageLinks, sheetCards } from "./list.ts";
import { counted, type Html } from "./text.ts";

export const frontPageDefaults = { perPage: 12, spill: 3 };

/** What this is, the newest public sheet on a map, and the recent ones of everybody. */
export function frontPage(
  user: User | undefined,
  place: PagePlace,
  sheets: readonly SheetSummary[],
  newest: Sheet | undefined,
): Html {
  return html`${place.page === 1 ? hero(user, sheets[0], newest) : ""}
    <section aria-labelledby="recent">
      <h2 id="recent">Recent sheets</h2>
      ${sheets.length > 0 ? sheetCards(sheets, { showUser: true }) : empty(place)}
      ${pageLinks(place, "/", frontPageDefaults, "recent sheets")}
    </section>`;
}

function hero(user: User | undefined, summary: SheetSummary | undefined, newest: Sheet | undefined): Html {
  const shown = summary && newest;
  return html`<section class="hero ${shown ? "" : "alone"}">
    <div class="hero-text">
      <h1>Maps from tables of places</h1>
      <p class="lead">Upload a table with a latitude and a longitude in it. Every row becomes a dot, and the dots become a map that you can keep to yourself or show to everybody.</p>
      <p class="actions">
        <a class="button" href="${user ? "/upload" : "/signup"}">${user ? "Upload a file" : "Sign up and upload a file"}</a>
        ${user ? html`<a class="button quiet" href="/u/${user.name}">Your sheets</a>` : html`<a class="button quiet" href="/login">Log in</a>`}
      </p>
      <p class="muted">CSV, TSV and GeoJSON are understood.</p>
    </div>
    ${shown ? newestMap(summary, newest) : ""}
  </section>`;
}

function newestMap(summary: SheetSummary, newest: Sheet): Html {
  return html`<figure class="hero-map">
    ${mapBox({ label: `Map of ${newest.label}`, dots: `/s/${newest.id}/dots.geojson`, bounds: newest.report?.bounds ?? null, size: "low" })}
    <figcaption><a href="/s/${newest.id}">${newest.label}</a>, ${counted(newest.dots, "dot")} by <a href="/u/${summary.userName}">${summary.userName}</a></figcaption>
  </figure>`;
}

function empty(place: PagePlace): Html {
  if (place.total > 0)
    return html`<p class="empty">There are not that many pages. <a href="/">Back to the first</a></p>`;
  return html`<p class="empty">Nobody has made a public sheet yet. <a href="/upload">Make the first one</a></p>`;
}
