import { html } from "hono/html";
import type { ReplicaStatus, TicketServerStatus } from "tesserae";
import type { OtherServers } from "../../operator/servers.ts";
import { count, type Html } from "./text.ts";

/** The replicas with their lag, and the ticket servers; each only where there are some. */
export function serverSections({ replicas, tickets }: OtherServers): Html {
  return html`${replicas.length > 0 ? replicasSection(replicas) : ""}${tickets.length > 0 ? ticketsSection(tickets) : ""}`;
}

const replicaWords: Readonly<Record<ReplicaStatus["state"], readonly [kind: string, word: string]>> = {
  unasked: ["", "Not asked"],
  healthy: ["busy", "Healthy"],
  behind: ["draft", "Behind"],
  unfit: ["bad", "Unfit"],
  down: ["bad", "Down"],
};

function replicasSection(replicas: readonly ReplicaStatus[]): Html {
  return html`<section aria-labelledby="replicas" data-live="replicas">
    <h2 id="replicas">Replicas</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Replicas and how far they are behind">
      <table class="places">
        <thead><tr><th scope="col">Replica</th><th scope="col" class="number">Behind</th><th scope="col">State</th><th scope="col" class="number">Reads</th><th scope="col">Address</th></tr></thead>
        <tbody>${replicas.map(replicaRow)}</tbody>
      </table>
    </div>
  </section>`;
}

function replicaRow({ name, address, state, reason, lagMs, inFlight }: ReplicaStatus): Html {
  const [kind, word] = replicaWords[state];
  return html`<tr>
    <th scope="row">${name}</th>
    <td class="number">${lagMs === undefined ? "–" : `${count(Math.round(lagMs))} ms`}</td>
    <td class="outcome"><span class="badge ${kind}">${word}</span>${reason ? html` <span class="muted">${reason}</span>` : ""}</td>
    <td class="number">${count(inFlight)}</td>
    <td class="address">${address}</td>
  </tr>`;
}

const ticketWords: Readonly<Record<TicketServerStatus["state"], readonly [kind: string, word: string]>> = {
  open: ["busy", "Gives ids"],
  closed: ["draft", "Closed"],
  outside: ["draft", "Not taken in yet"],
  down: ["bad", "Down"],
};

function ticketsSection(servers: readonly TicketServerStatus[]): Html {
  return html`<section aria-labelledby="tickets" data-live="tickets">
    <h2 id="tickets">Ticket servers</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Where ids come from">
      <table class="places">
        <thead><tr><th scope="col">Server</th><th scope="col">Which ids</th><th scope="col">State</th><th scope="col">Next ones</th><th scope="col">Address</th></tr></thead>
        <tbody>${servers.map((server, index) => ticketRow(server, index + 1))}</tbody>
      </table>
    </div>
  </section>`;
}

function ticketRow(
  { address, state, reason, offset, step, counters }: TicketServerStatus,
  place: number,
): Html {
  const [kind, word] = ticketWords[state];
  const next = counters.map(({ sequence, nextId }) => `${sequence} ${nextId.toLocaleString("en")}`);
  return html`<tr>
    <th scope="row">server ${place}</th>
    <td>${offset === undefined ? "–" : step === 1 ? "all" : `${offset} of every ${step}`}</td>
    <td class="outcome"><span class="badge ${kind}">${word}</span>${reason ? html` <span class="muted">${reason}</span>` : ""}</td>
    <td class="outcome">${next.join(", ")}</td>
    <td class="address">${address}</td>
  </tr>`;
}
