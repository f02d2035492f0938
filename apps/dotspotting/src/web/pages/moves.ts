import { html, raw } from "hono/html";
import { hasEnded, type MoveView } from "../../operator/move-view.ts";
import { ago, count, type Html } from "./text.ts";

/** Moves under way, and the last of those that have ended. */
export function movesSection(moves: readonly MoveView[], version: string, token: string): Html {
  const open = moves.filter((move) => !hasEnded(move));
  const ended = moves.filter(hasEnded);
  return html`<section aria-labelledby="moves" data-live="moves" data-version="${version}">
    <h2 id="moves">Moves</h2>
    ${moves.length === 0 ? html`<p class="empty">Nobody has been moved yet.</p>` : ""}
    ${open.length > 0 ? html`<ul class="moves">${open.map((move) => openMove(move, token))}</ul>` : ""}
    ${ended.length > 0 ? endedMoves(ended, token) : ""}
  </section>`;
}

const stateWords: Readonly<Record<MoveView["state"], readonly [kind: string, word: string]>> = {
  running: ["busy", "Under way"],
  paused: ["draft", "Paused"],
  stopped: ["bad", "Stands still"],
  done: ["", "Done"],
  aborted: ["", "Turned back"],
};

function openMove(move: MoveView, token: string): Html {
  const { id, state, percent, text, error } = move;
  const [kind, word] = stateWords[state];
  // Without a value the bar says only that something is going on.
  const value = percent === undefined ? "" : raw(` value="${percent.toFixed(1)}"`);
  const bar = state === "running" || percent !== undefined;
  return html`<li class="panel roomy move" id="move-${id}">
    <div class="move-heading">
      <h3>${subject(move)} <span class="muted">shard ${move.from} → ${move.to}</span></h3>
      <span class="badge ${kind}">${word}</span>
    </div>
    <div class="progress">
      ${bar ? html`<progress max="100"${value} aria-label="Progress of the move"></progress>` : ""}
      <p class="muted" data-move-text>${text}</p>
    </div>
    ${error ? html`<p class="problem">${error}</p>` : ""}
    <div class="buttons">
      ${state === "running" ? button(move, "pause", "Pause", token) : button(move, "resume", "Resume", token)}
      ${move.canAbort ? button(move, "abort", "Abort", token, "danger") : ""}
    </div>
  </li>`;
}

function endedMoves(moves: readonly MoveView[], token: string): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Moves that have ended">
    <table class="places">
      <thead><tr><th scope="col">User</th><th scope="col">Shard</th><th scope="col">Ended</th><th scope="col" class="number">Rows</th><th scope="col" class="number">Writes waited</th><th scope="col">Outcome</th><th scope="col"><span class="unseen">Undo</span></th></tr></thead>
      <tbody>${moves.map((move) => endedMove(move, token))}</tbody>
    </table>
  </div>`;
}

function endedMove(move: MoveView, token: string): Html {
  const { from, to, finished, rows, pauseMs, state, error } = move;
  return html`<tr>
    <th scope="row">${subject(move)}</th>
    <td>${from} → ${to}</td>
    <td>${finished ? ago(finished) : ""}</td>
    <td class="number">${count(rows)}</td>
    <td class="number">${pauseMs === undefined ? "" : `${count(Math.round(pauseMs))} ms`}</td>
    <td class="outcome">${stateWords[state][1]}${error ? html`: ${error}` : ""}</td>
    <td class="number">${move.canUndo ? button(move, "undo", "Undo", token, "small") : ""}</td>
  </tr>`;
}

function subject({ user, what }: MoveView): Html | string {
  return user === undefined ? what : html`<a href="/u/${user}">${user}</a>`;
}

function button(move: MoveView, action: string, word: string, token: string, look = ""): Html {
  return html`<form method="post" action="/operator/moves/${move.id}/${action}" class="inline">
    <input type="hidden" name="token" value="${token}">
    <button class="button quiet small ${look}" id="${action}-${move.id}">${word}<span class="unseen"> the move of ${move.user ?? move.what}</span></button>
  </form>`;
}
