import { html } from "hono/html";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { formToken, type Web } from "./environment.ts";
import { layout, messagePage, type PageFrame } from "./pages/layout.ts";
import type { Html } from "./pages/text.ts";

type FrameOptions = Pick<PageFrame, "scripts" | "width">;

function frame(c: Web, title: string, options: FrameOptions = {}): PageFrame {
  const { user, isOperator } = c.var;
  return { title, user, isOperator, token: user ? formToken(c) : undefined, ...options };
}

/** A page as answer. */
export function page(
  c: Web,
  title: string,
  body: Html,
  options: FrameOptions = {},
  status: ContentfulStatusCode = 200,
) {
  return c.html(layout(frame(c, title, options), body), status);
}

/** Also for what is there but not for this visitor: the two must not be told apart. */
export function notFound(c: Web) {
  return c.html(
    messagePage(
      frame(c, "Not found"),
      "There is nothing here",
      "Perhaps it was deleted, or the address has a mistake in it.",
    ),
    404,
  );
}

export function gone(c: Web) {
  return c.html(
    messagePage(
      frame(c, "Deleted"),
      "This dot was deleted",
      "It was here once, and its owner has deleted it.",
    ),
    410,
  );
}

export function forbidden(c: Web) {
  const text =
    "The form is too old, or comes from another site. Go back, load the page again and send it once more.";
  return c.html(messagePage(frame(c, "Refused"), "This form cannot be taken", text), 403);
}

export function failed(c: Web) {
  const text = "Something went wrong here. It has been written down; please try again in a moment.";
  return c.html(messagePage(frame(c, "Error"), "That did not work", text), 500);
}

/** Sends a visitor to log in, and back here afterwards. */
export function toLogIn(c: Web) {
  return c.redirect(`/login?next=${encodeURIComponent(new URL(c.req.url).pathname)}`, 303);
}

export function tooMany(c: Web, seconds: number) {
  c.header("Retry-After", String(seconds));
  const minutes = Math.ceil(seconds / 60);
  const text = html`There were too many attempts. Try again in ${minutes === 1 ? "a minute" : `${minutes} minutes`}.`;
  return c.html(messagePage(frame(c, "Too many attempts"), "Please wait", text), 429);
}
