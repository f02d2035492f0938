import { html } from "hono/html";
import type { MoveView } from "../../operator/move-view.ts";
import type { OtherServers } from "../../operator/servers.ts";
import type { ShardLoad, UserPlace } from "../../operator/user-places.ts";
import type { PagePlace } from "../../sheets/paging.ts";
import { pageLinks } from "./list.ts";
import { movesSection } from "./moves.ts";
import { serverSections } from "./servers.ts";
import { count, counted, type Html } from "./text.ts";

export const operatorPageDefaults = { perPage: 25, spill: 5 };

export interface OperatorView {
  readonly token: string;
  readonly operator: string;
  /** What was refused. */
  readonly problem: string | undefined;
  readonly shards: readonly ShardLoad[];
  /** Main's address, without passwords. */
  readonly main: string;
  readonly servers: OtherServers;
  readonly moves: readonly MoveView[];
  readonly version: string;
  readonly users: readonly UserPlace[];
  readonly place: PagePlace;
  readonly search: string;
}

/** Where users live, and what moves. The script brings parts marked `data-live` up to date. */
export function operatorPage(view: OperatorView): Html {
  const { shards, problem, token } = view;
  return html`<div class="heading">
      <div>
        <h1>Where users live</h1>
        <p class="muted">All sheets and dots of a user live together on one shard. A move takes them to another one, while the user goes on working.</p>
      </div>
    </div>
    <div id="refused" role="alert">${problem ? html`<p class="problem">${problem}</p>` : ""}</div>
    ${shardsSection(shards)}
    ${serverSections(view.servers)}
    ${shards.length === 1 ? oneShard(view) : movesSection(view.moves, view.version, token)}
    ${usersSection(view)}`;
}

function shardsSection(shards: readonly ShardLoad[]): Html {
  return html`<section aria-labelledby="shards" data-live="shards">
    <h2 id="shards">Shards</h2>
    <ul class="cards">${shards.map(
      ({ id, address, users, share, isClosed }) => html`<li class="panel shard">
        <h3>Shard ${id}</h3>
        <p class="address">${address}</p>
        <progress max="1" value="${share.toFixed(4)}" aria-label="Share of the users on shard ${id}"></progress>
        <p><strong>${counted(users, "user")}</strong> <span class="muted">${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %</span></p>
        ${isClosed ? html`<p class="muted">Drained: takes no new users</p>` : ""}
      </li>`,
    )}</ul>
  </section>`;
}

/** Nothing can move yet; what has to be said at the next start so that something can. */
function oneShard({ main, operator, shards }: OperatorView): Html {
  const [only] = shards;
  const engine = main.slice(0, main.indexOf(":"));
  const another =
    engine === "sqlite" ? "sqlite:/where/there/is/room/dots-2.db" : `${engine}://app:secret@two/dots`;
  const first = only === undefined || only.isMain ? "main" : only.address;
  const federation = { main, shards: { [only?.id ?? 1]: first, [(only?.id ?? 1) + 1]: another } };
  return html`<section class="notice" aria-labelledby="grow">
    <h2 id="grow">With one shard nobody can move</h2>
    <p>Start the application with a second shard, an SQLite file or a database on a server, and move users there:</p>
    <pre class="scroll"><code>export DOTSPOTTING_OPERATORS=${operator}
export DOTSPOTTING_FEDERATION='${JSON.stringify(federation, null, 2)}'
npm start</code></pre>
    <p class="muted">Addresses are shown without their passwords; write them as you have them. The new shard’s tables are created by the start.</p>
  </section>`;
}

function usersSection(view: OperatorView): Html {
  const { users, place, search } = view;
  const address = search === "" ? "/operator" : `/operator?user=${encodeURIComponent(search)}`;
  return html`<section aria-labelledby="users">
    <div class="section-heading">
      <h2 id="users">Users</h2>
      <form method="get" action="/operator" class="search" role="search">
        <label for="user" class="unseen">Name begins with</label>
        <input id="user" name="user" value="${search}" placeholder="Name begins with …" maxlength="32" autocapitalize="none" spellcheck="false">
        <button class="button quiet small">Find</button>
      </form>
    </div>
    ${users.length > 0 ? userTable(view) : html`<p class="empty">${place.total > 0 ? "There are not that many pages." : "There is nobody with such a name."} <a href="/operator">Back to all users</a></p>`}
    ${pageLinks(place, address, operatorPageDefaults, "users")}
  </section>`;
}

function userTable(view: OperatorView): Html {
  const several = view.shards.length > 1;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Users and where they live">
    <table class="places">
      <thead><tr><th scope="col">User</th><th scope="col" class="number">Sheets</th><th scope="col" class="number">Dots</th><th scope="col" class="number">Shard</th><th scope="col" class="number">Epoch</th><th scope="col">State</th>${several ? html`<th scope="col">Move to</th>` : ""}</tr></thead>
      <tbody>${view.users.map((user) => userRow(user, view, several))}</tbody>
    </table>
  </div>`;
}

function userRow(user: UserPlace, view: OperatorView, several: boolean): Html {
  const { id, name, sheets, dots, place } = user;
  return html`<tr data-live="user-${id}">
    <th scope="row"><a href="/u/${name}">${name}</a></th>
    <td class="number">${count(sheets)}</td>
    <td class="number">${count(dots)}</td>
    <td class="number">${place ? place.shard : "–"}</td>
    <td class="number">${place ? String(place.epoch) : "–"}</td>
    <td>${place ? place.state : "unknown"}</td>
    ${several ? html`<td>${place?.state === "active" ? moveForm(user, place.shard, view) : ""}</td>` : ""}
  </tr>`;
}

function moveForm({ id, name }: UserPlace, from: number, { shards, token }: OperatorView): Html {
  const others = shards.filter((shard) => shard.id !== from);
  return html`<form method="post" action="/operator/moves" class="move-form">
    <input type="hidden" name="token" value="${token}">
    <input type="hidden" name="user" value="${name}">
    <select name="to" aria-label="Shard to move ${name} to">${others.map((shard) => html`<option value="${shard.id}">shard ${shard.id}</option>`)}</select>
    <select name="pace" aria-label="Pace of the move of ${name}">
      <option value="">as fast as it goes</option>
      ${[10_000, 1_000, 100].map((rows) => html`<option value="${rows}">${count(rows)} rows/s</option>`)}
    </select>
    <button class="button quiet small" id="start-${id}">Move<span class="unseen"> ${name}</span></button>
  </form>`;
}
