import { html } from "hono/html";
import type { User } from "../../accounts/users.ts";
import type { PagePlace } from "../../sheets/paging.ts";
import type { SheetSummary } from "../../sheets/sheets.ts";
import { mapBox, pageLinks, sheetCards } from "./list.ts";
import { counted, type Html, moment } from "./text.ts";

export const userPageDefaults = { perPage: 12, spill: 3 };

/** Somebody's sheets, and all their dots on one map. */
export function userPage(user: User, own: boolean, place: PagePlace, sheets: readonly SheetSummary[]): Html {
  const address = `/u/${user.name}`;
  const day = new Date(Math.floor(user.created.getTime() / 86_400_000) * 86_400_000);
  return html`<div class="heading">
      <div>
        <h1>${user.name}</h1>
        <p class="muted">${counted(place.total, own ? "sheet" : "public sheet")}, here since ${moment(day)}</p>
      </div>
      ${own ? html`<div class="buttons"><a class="button" href="/upload">Upload a file</a></div>` : ""}
    </div>
    ${place.total > 0 ? mapBox({ label: `Map of all dots of ${user.name}`, dots: `${address}/dots.geojson` }) : ""}
    <section aria-labelledby="sheets">
      <h2 id="sheets">Sheets</h2>
      ${sheets.length > 0 ? sheetCards(sheets, { showUser: false }) : empty(own, place, address)}
      ${pageLinks(place, address, userPageDefaults, "sheets")}
    </section>`;
}

function empty(own: boolean, place: PagePlace, address: string): Html {
  if (place.total > 0)
    return html`<p class="empty">There are not that many pages. <a href="${address}">Back to the first</a></p>`;
  if (own)
    return html`<p class="empty">You have no sheets yet. <a href="/upload">Upload a file</a> and see it on the map.</p>`;
  return html`<p class="empty">There is nothing here that everybody may see.</p>`;
}
