import { html } from "hono/html";
import type { Dot } from "../../sheets/dots.ts";
import type { Sheet } from "../../sheets/sheets.ts";
import { badges, mapBox } from "./list.ts";
import { linked } from "./sheet.ts";
import { type Html, moment, position } from "./text.ts";

/** One dot: where it is, and everything its row says. */
export function dotPage(dot: Dot, sheet: Sheet, owner: string): Html {
  const details = Object.entries(dot.details).filter(([, value]) => value !== "" && value !== null);
  return html`<div class="heading">
      <div>
        <h1>${dot.label || "Unnamed dot"}</h1>
        <p class="muted">In <a href="/s/${sheet.id}">${sheet.label}</a> by <a href="/u/${owner}">${owner}</a></p>
        ${badges(sheet)}
      </div>
    </div>
    <div class="dot-page">
      ${mapBox({ label: `Map of ${dot.label || "the dot"}`, point: [dot.longitude, dot.latitude], size: "low" })}
      <dl class="facts">
        <dt>Position</dt><dd>${position(dot.latitude, dot.longitude)}</dd>
        ${dot.happened ? html`<dt>When</dt><dd>${moment(dot.happened)}</dd>` : ""}
        ${details.map(([name, value]) => html`<dt>${name}</dt><dd>${linked(value)}</dd>`)}
      </dl>
    </div>`;
}
