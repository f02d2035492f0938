import { html } from "hono/html";
import type { Html } from "./text.ts";

interface AccountForm {
  readonly token: string;
  readonly next: string;
  /** What was typed before, and what was wrong with it. */
  readonly name?: string;
  readonly problem?: string | undefined;
}

export function signUpPage(form: AccountForm): Html {
  return accountForm(form, {
    heading: "Sign up",
    action: "/signup",
    button: "Sign up",
    nameHint: "2 to 32 letters, digits, hyphens or underscores. Everybody sees it.",
    passwordHint: "At least 10 characters.",
    passwordUse: "new-password",
    other: html`Already here? <a href="/login?next=${encodeURIComponent(form.next)}">Log in</a>`,
  });
}

export function logInPage(form: AccountForm): Html {
  return accountForm(form, {
    heading: "Log in",
    action: "/login",
    button: "Log in",
    nameHint: "",
    passwordHint: "",
    passwordUse: "current-password",
    other: html`New here? <a href="/signup?next=${encodeURIComponent(form.next)}">Sign up</a>`,
  });
}

interface AccountWords {
  readonly heading: string;
  readonly action: string;
  readonly button: string;
  readonly nameHint: string;
  readonly passwordHint: string;
  readonly passwordUse: string;
  readonly other: Html;
}

function accountForm(form: AccountForm, words: AccountWords): Html {
  const hint = (id: string, text: string) => (text ? html`<p class="hint" id="${id}">${text}</p>` : "");
  return html`<section class="panel">
    <h1>${words.heading}</h1>
    ${form.problem ? html`<p class="problem" role="alert">${form.problem}</p>` : ""}
    <form method="post" action="${words.action}" class="stack">
      <input type="hidden" name="token" value="${form.token}">
      <input type="hidden" name="next" value="${form.next}">
      <div class="field">
        <label for="name">Name</label>
        <input id="name" name="name" value="${form.name ?? ""}" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="32" aria-describedby="name-hint">
        ${hint("name-hint", words.nameHint)}
      </div>
      <div class="field">
        <label for="password">Password</label>
        <input id="password" name="password" type="password" autocomplete="${words.passwordUse}" required maxlength="200" aria-describedby="password-hint">
        ${hint("password-hint", words.passwordHint)}
      </div>
      <button class="button">${words.button}</button>
    </form>
    <p class="muted">${words.other}</p>
  </section>`;
}
