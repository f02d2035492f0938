import { html } from "hono/html";
import type { Dot } from "../../sheets/dots.ts";
import type { PagePlace } from "../../sheets/paging.ts";
import type { Sheet } from "../../sheets/sheets.ts";
import { badges, mapBox, pageLinks } from "./list.ts";
import { ago, counted, degrees, detail, type Html, megabytes, moment, webAddress } from "./text.ts";
import { problemTable } from "./upload.ts";

export const sheetPageDefaults = { perPage: 50, spill: 5 };

interface SheetView {
  readonly sheet: Sheet;
  readonly owner: string;
  /** For the owner's buttons; undefined for everybody else. */
  readonly token: string | undefined;
  readonly place: PagePlace;
  readonly dots: readonly Dot[];
}

/** A sheet: its dots on a map and in a table. */
export function sheetPage(view: SheetView): Html {
  const { sheet, token } = view;
  const map = mapBox({
    label: `Map of ${sheet.label}`,
    dots: `/s/${sheet.id}/dots.geojson`,
    bounds: sheet.report?.bounds ?? null,
  });
  return html`${heading(view)}
    ${token ? decision(sheet, token) : ""}
    ${sheet.state === "ready" || sheet.state === "draft" ? html`${map}${dotTable(view)}` : ""}
    ${token && sheet.state === "ready" ? report(sheet) : ""}`;
}

function heading({ sheet, owner, token }: SheetView): Html {
  return html`<div class="heading">
    <div>
      <h1>${sheet.label}</h1>
      <p class="muted">${counted(sheet.dots, "dot")} by <a href="/u/${owner}">${owner}</a>, ${ago(sheet.created)}</p>
      ${badges(sheet)}
    </div>
    ${token ? ownerButtons(sheet, token) : ""}
  </div>`;
}

function ownerButtons(sheet: Sheet, token: string): Html {
  const other = sheet.visibility === "public" ? "private" : "public";
  const working = (sheet.state === "importing" || sheet.state === "deleting") && !sheet.interrupted;
  if (working || sheet.state === "draft") return html``;
  return html`<div class="buttons">
    ${sheet.state === "ready" ? button(`/s/${sheet.id}/visibility`, token, `Make it ${other}`, "quiet", { visibility: other }) : ""}
    <a class="button quiet danger" href="/s/${sheet.id}/delete">Delete</a>
  </div>`;
}

/** A form of one button. */
function button(
  action: string,
  token: string,
  text: string,
  kind: string,
  fields: Record<string, string> = {},
): Html {
  const hidden = Object.entries(fields).map(
    ([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`,
  );
  return html`<form method="post" action="${action}" class="inline">
    <input type="hidden" name="token" value="${token}">${hidden}<button class="button ${kind}">${text}</button>
  </form>`;
}

/** What the owner has to decide or to know about an import. */
function decision(sheet: Sheet, token: string): Html {
  if (sheet.state === "importing") {
    const text = sheet.interrupted
      ? "This import was interrupted. Delete what there is of it, and upload the file again."
      : "This file is being imported. Look again in a moment.";
    return html`<section class="notice"><p>${text}</p></section>`;
  }
  if (sheet.state === "deleting")
    return html`<section class="notice"><p>This sheet is being deleted.</p></section>`;
  if (sheet.state !== "draft" || !sheet.report) return html``;
  const { bad, sameAs } = sheet.report;
  return html`<section class="notice" aria-labelledby="decide">
    <h2 id="decide">Keep it?</h2>
    ${sameAs ? html`<p>You have uploaded exactly this file before: <a href="/s/${sameAs}">here is what became of it</a>.</p>` : ""}
    ${bad > 0 ? html`<p>${counted(sheet.dots, "row")} became ${sheet.dots === 1 ? "a dot" : "dots"}, ${counted(bad, "row")} could not.</p>` : ""}
    ${problemTable(sheet.report)}
    <div class="buttons">
      ${button(`/s/${sheet.id}/keep`, token, sameAs ? "Import it anyway" : `Keep the ${counted(sheet.dots, "good row")}`, "")}
      ${button(`/s/${sheet.id}/delete`, token, sameAs ? "Discard this copy" : "Refuse the file", "quiet danger")}
    </div>
  </section>`;
}

function dotTable({ sheet, place, dots }: SheetView): Html {
  if (dots.length === 0) {
    const text = place.total === 0 ? "There are no dots in this sheet." : "There are not that many pages.";
    return html`<p class="empty">${text} ${place.total > 0 ? html`<a href="/s/${sheet.id}">Back to the first</a>` : ""}</p>`;
  }
  const dated = dots.some((dot) => dot.happened);
  const columns = sheet.columns.map((name) => ({ name, kind: isNumeric(dots, name) ? "number" : "" }));
  return html`<section aria-labelledby="dots">
    <h2 id="dots">Dots</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Table of dots">
      <table class="dots">
        <thead><tr>
          <th scope="col">Name</th><th scope="col" class="number">Latitude</th><th scope="col" class="number">Longitude</th>
          ${dated ? html`<th scope="col">When</th>` : ""}${columns.map(({ name, kind }) => html`<th scope="col" class="${kind}">${name}</th>`)}
        </tr></thead>
        <tbody>${dots.map((dot) => dotRow(dot, columns, dated))}</tbody>
      </table>
    </div>
    ${pageLinks(place, `/s/${sheet.id}`, sheetPageDefaults, "dots")}
  </section>`;
}

interface TableColumn {
  readonly name: string;
  readonly kind: string;
}

function dotRow(dot: Dot, columns: readonly TableColumn[], dated: boolean): Html {
  return html`<tr>
    <th scope="row"><a href="/d/${dot.id}">${dot.label || "Unnamed"}</a></th>
    <td class="number">${degrees(dot.latitude)}</td><td class="number">${degrees(dot.longitude)}</td>
    ${dated ? html`<td class="when">${dot.happened ? moment(dot.happened) : ""}</td>` : ""}${columns.map(({ name, kind }) => html`<td class="${kind}">${linked(dot.details[name])}</td>`)}
  </tr>`;
}

/** Whether a column's values on this page are all numbers, or nothing. A code with zeros before it is none. */
function isNumeric(dots: readonly Dot[], column: string): boolean {
  const values = dots.map((dot) => detail(dot.details[column])).filter((text) => text !== "");
  return values.length > 0 && values.every((text) => /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text));
}

/** A detail's text; a web address as a link. */
export function linked(value: unknown): Html | string {
  const address = webAddress(value);
  return address ? html`<a href="${address}" rel="nofollow noopener">${address}</a>` : detail(value);
}

function report(sheet: Sheet): Html {
  if (!sheet.report) return html``;
  const { format, encoding, bytes, bad } = sheet.report;
  return html`<details class="report">
    <summary>How it was imported${bad > 0 ? `: ${counted(bad, "row")} left out` : ""}</summary>
    <dl class="facts">
      <dt>File</dt><dd>${sheet.fileName}</dd>
      <dt>Format</dt><dd>${format}, ${encoding}, ${megabytes(bytes)}</dd>
    </dl>
    ${problemTable(sheet.report)}
  </details>`;
}

export function deletePage(sheet: Sheet, token: string): Html {
  return html`<section class="panel">
    <h1>Delete “${sheet.label}”?</h1>
    <p>Its ${counted(sheet.dots, "dot")} will be gone for good.</p>
    <div class="buttons">
      ${button(`/s/${sheet.id}/delete`, token, "Delete it", "danger")}
      <a class="button quiet" href="/s/${sheet.id}">Keep it</a>
    </div>
  </section>`;
}
