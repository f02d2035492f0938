/** Keeps the operator's page up to date while it is open, and sends its forms. Without this script the forms work, and the page is as it was loaded. */

const refused = document.getElementById("refused");
const quickMs = 500;
const idleMs = 3_000;

const movesSection = () => document.querySelector('[data-live="moves"]');
let timer;

/** Asks how far the moves are: bars and words are set here, and when more has changed the page is read anew. */
async function follow() {
  clearTimeout(timer);
  let next = idleMs;
  if (!document.hidden) {
    const answer = await ask();
    if (answer) {
      if (answer.version !== movesSection().dataset.version) await renew();
      for (const move of answer.moves) showProgress(move);
      if (answer.moves.length > 0) next = quickMs;
    }
  }
  clearTimeout(timer);
  timer = setTimeout(follow, next);
}

async function ask() {
  const response = await fetch("/operator/moves.json").catch(() => undefined);
  return response?.ok ? response.json() : undefined;
}

function showProgress({ id, text, percent }) {
  const move = document.getElementById(`move-${id}`);
  if (!move) return;
  move.querySelector("[data-move-text]").textContent = text;
  const bar = move.querySelector("progress");
  if (percent === null) bar?.removeAttribute("value");
  else if (bar) bar.value = percent;
}

/** Takes what has changed from a fresh copy of this page. What somebody is choosing in stays, and what was focused is focused again. */
async function renew() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => undefined);
  if (!response?.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const focused = document.activeElement;
  for (const part of document.querySelectorAll("[data-live]")) {
    const replacement = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!replacement || replacement.outerHTML === part.outerHTML) continue;
    if (focused?.tagName === "SELECT" && part.contains(focused)) continue;
    part.replaceWith(document.adoptNode(replacement));
  }
  if (focused?.id && !focused.isConnected) document.getElementById(focused.id)?.focus();
}

document.addEventListener("submit", async (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!form.getAttribute("action").startsWith("/operator/moves")) return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  refused.replaceChildren();
  const problem = await send(form);
  button.disabled = false;
  if (problem) {
    const message = document.createElement("p");
    message.className = "problem";
    message.textContent = problem;
    refused.replaceChildren(message);
  }
  await renew();
  await follow();
});

/** What was refused, or null. */
async function send(form) {
  const body = new URLSearchParams(new FormData(form));
  const request = { method: "POST", body, headers: { Accept: "application/json" } };
  const response = await fetch(form.action, request).catch(() => undefined);
  if (response?.ok || response?.status === 422) return (await response.json()).problem;
  if (response?.status === 403) return "This page is too old. Load it again.";
  return "That did not work. Please try again.";
}

document.addEventListener("visibilitychange", follow);
if (movesSection()) void follow();
