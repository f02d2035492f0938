import { html, raw } from "hono/html";
import type { ImportReport } from "../../schema.ts";
import { count, counted, type Html } from "./text.ts";

export interface UploadForm {
  readonly token: string;
  readonly bytesMax: number;
}

/** The form. It works without JavaScript; with it, a bar shows how far the upload is. */
export function uploadPage({ token, bytesMax }: UploadForm): Html {
  return html`<section class="panel roomy">
    <h1>Upload a file of places</h1>
    <p class="lead">A table with a first line of names, two of which mean latitude and longitude; or GeoJSON with points.</p>
    <form method="post" action="/upload" enctype="multipart/form-data" class="stack" id="upload" data-bytes-max="${bytesMax}">
      <input type="hidden" name="token" value="${token}">
      <div class="field">
        <label for="label">Title</label>
        <input id="label" name="label" maxlength="200" placeholder="The file’s name, unless you say something better" autocomplete="off">
      </div>
      <fieldset>
        <legend>Who may see it</legend>
        ${choice("visibility", "public", "Everybody", "It is listed on the front page.", true)}
        ${choice("visibility", "private", "Only you", "You can show it later.", false)}
      </fieldset>
      <fieldset>
        <legend>If some rows are bad</legend>
        ${choice("bad_rows", "ask", "Show me, then I decide", "", true)}
        ${choice("bad_rows", "keep", "Leave them out and keep the rest", "", false)}
        ${choice("bad_rows", "refuse", "Refuse the whole file", "", false)}
      </fieldset>
      <div class="field drop">
        <label for="file">File</label>
        <input id="file" name="file" type="file" required accept=".csv,.tsv,.txt,.json,.geojson,text/csv,text/tab-separated-values,application/geo+json,application/json">
        <p class="hint">CSV, TSV or GeoJSON, up to ${count(bytesMax / 1024 / 1024)} MiB.</p>
      </div>
      <button class="button">Upload</button>
      <div class="progress" id="progress" hidden>
        <label for="bar">Importing</label>
        <progress id="bar" max="100" value="0"></progress>
        <p class="muted" id="progress-text" aria-live="polite"></p>
      </div>
      <div id="refused" role="alert"></div>
    </form>
    ${aliases()}
  </section>`;
}

function choice(name: string, value: string, text: string, hint: string, checked: boolean): Html {
  return html`<label class="choice"><input type="radio" name="${name}" value="${value}"${checked ? raw(" checked") : ""}> <span>${text}${hint ? html` <small>${hint}</small>` : ""}</span></label>`;
}

function aliases(): Html {
  return html`<details>
    <summary>Which names of columns are understood?</summary>
    <dl class="facts">
      <dt>Latitude</dt><dd>latitude, lat, y</dd>
      <dt>Longitude</dt><dd>longitude, lon, long, lng, x</dd>
      <dt>Name</dt><dd>title, name, label, place; or first_name with last_name</dd>
      <dt>Date</dt><dd>date, created, time, timestamp, when</dd>
    </dl>
    <p class="muted">Capital letters make no difference. All other columns are kept as they are. Degrees are decimal numbers, or like 34° 3′ 15″ N.</p>
  </details>`;
}

/** A file that was not taken, and why. */
export function refusedPage(fileName: string, reason: string, report: ImportReport | undefined): Html {
  return html`<section class="panel roomy">
    <h1>Nothing was imported</h1>
    <p class="problem" role="alert">${fileName ? html`<strong>${fileName}</strong>: ` : ""}${reason}</p>
    ${report ? problemTable(report) : ""}
    <p class="actions"><a class="button" href="/upload">Try another file</a></p>
  </section>`;
}

/** The bad rows of a file, by line. */
export function problemTable(report: ImportReport): Html {
  if (report.bad === 0) return html``;
  const more = report.bad - report.problems.length;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Bad rows">
    <table class="problems">
      <caption>${counted(report.bad, "bad row")}</caption>
      <thead><tr><th scope="col" class="number">Line</th><th scope="col">What is wrong</th></tr></thead>
      <tbody>${report.problems.map((row) => html`<tr><td class="number">${count(row.line)}</td><td>${row.problem}</td></tr>`)}</tbody>
    </table>
    ${more > 0 ? html`<p class="muted">and ${counted(more, "more row")}</p>` : ""}
  </div>`;
}
