import { setTimeout as sleep } from "node:timers/promises";
import type { ReplicaStatus, TicketServerStatus } from "tesserae";
import type { DotFederation } from "../federation.ts";

/** How long the page waits for servers to say how they are. One that is silent is shown as it was known before. */
const answerMs = 1_000;

/** The servers besides main and the shards. Both lists are empty where main plays them all. */
export interface OtherServers {
  readonly replicas: readonly ReplicaStatus[];
  readonly tickets: readonly TicketServerStatus[];
}

export async function otherServers(fed: DotFederation): Promise<OtherServers> {
  const { poorMans } = fed.status();
  const [tickets] = await Promise.all([
    poorMans.tickets ? [] : fed.tickets.status().then(({ servers }) => servers),
    poorMans.replicas ? undefined : Promise.race([fed.probe(), sleep(answerMs, undefined, { ref: false })]),
  ]);
  return { replicas: fed.status().replicas, tickets };
}
