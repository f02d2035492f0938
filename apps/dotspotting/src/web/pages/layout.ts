import { html, raw } from "hono/html";
import type { User } from "../../accounts/users.ts";
import type { Html } from "./text.ts";

export interface PageFrame {
  readonly title: string;
  readonly user: User | undefined;
  readonly isOperator?: boolean;
  /** For the log-out button; needed where somebody is logged in. */
  readonly token: string | undefined;
  readonly scripts?: readonly ("map" | "upload" | "operator")[];
  /** A wide page has a map in it. */
  readonly width?: "narrow" | "wide";
}

const mark = raw(
  `<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><circle cx="10" cy="21" r="7"/><circle cx="23" cy="20" r="4"/><circle cx="18" cy="8" r="5"/></svg>`,
);

/** The frame around every page. */
export function layout(frame: PageFrame, body: Html): Html {
  const { title, user, isOperator = false, token, scripts = [], width = "wide" } = frame;
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>${title} · Dotspotting</title>
    <link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
    ${scripts.includes("map") ? html`<link rel="stylesheet" href="/assets/maplibre-gl.css">` : ""}
    <link rel="stylesheet" href="/assets/style.css">
    ${scripts.map((name) => html`<script type="module" src="/assets/${name}.js"></script>`)}
  </head>
  <body>
    <a class="skip" href="#content">Skip to the content</a>
    <header class="top">
      <a class="brand" href="/">${mark}<span>Dotspotting</span></a>
      <nav aria-label="Main"><a href="/search">Search</a> ${user && token ? memberLinks(user, isOperator, token) : visitorLinks()}</nav>
    </header>
    <main id="content" class="${width}">${body}</main>
    <footer class="bottom">
      <p>Maps from tables of places. An example application of Tesserae.</p>
      <p>Outlines: Natural Earth and the United States Census Bureau.</p>
    </footer>
  </body>
</html>`;
}

function memberLinks(user: User, isOperator: boolean, token: string): Html {
  return html`<a class="button small" href="/upload">Upload</a>
    ${isOperator ? html`<a href="/operator">Operator</a>` : ""}
    <a href="/u/${user.name}">${user.name}</a>
    <form method="post" action="/logout" class="inline">
      <input type="hidden" name="token" value="${token}">
      <button class="link">Log out</button>
    </form>`;
}

function visitorLinks(): Html {
  return html`<a href="/login">Log in</a> <a class="button small" href="/signup">Sign up</a>`;
}

/** A page that says what went wrong. */
export function messagePage(frame: PageFrame, heading: string, text: Html | string, action?: Html): Html {
  return layout(
    { ...frame, width: "narrow" },
    html`<section class="message"><h1>${heading}</h1><p>${text}</p>${action ?? html`<p><a href="/">To the front page</a></p>`}</section>`,
  );
}
