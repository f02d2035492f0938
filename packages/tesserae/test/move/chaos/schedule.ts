/** What happens in one round of chaos: all of it drawn from a seed. */
import type { MovePoint } from "../../../src/move/move-points.ts";
import { MOVE_POINTS } from "../../../src/move/move-points.ts";
import type { Party, Place } from "./chaos-site.ts";
import { SeededRandom } from "./seeded-random.ts";

export type NetworkFault = "drop" | "swallow" | "stall" | "refuse";

/** What goes wrong, `atMs` after the beginning. */
export type Fault =
  | {
      readonly kind: "killAtPoint";
      readonly mover: number;
      readonly point: MovePoint;
      readonly after: number;
    }
  /** It goes on when another process has finished its move, or after a while. */
  | {
      readonly kind: "stopAtPoint";
      readonly mover: number;
      readonly point: MovePoint;
      readonly after: number;
    }
  | { readonly kind: "kill"; readonly party: Party; readonly process: number; readonly atMs: number }
  | {
      readonly kind: "stop";
      readonly party: Party;
      readonly process: number;
      readonly atMs: number;
      readonly forMs: number;
    }
  | {
      readonly kind: "network";
      readonly how: NetworkFault;
      readonly party: Party;
      readonly place: Place;
      readonly atMs: number;
      readonly forMs: number;
    }
  | { readonly kind: "server"; readonly place: Place; readonly atMs: number; readonly downMs: number };

export interface Schedule {
  readonly seed: number;
  /** `range`: the keys live in a range that is moved, split and merged, and out of which keys are moved. */
  readonly layout: "points" | "range";
  readonly keys: number;
  readonly writers: number;
  readonly movers: number;
  readonly pauseMs: number;
  readonly runMs: number;
  readonly faults: readonly Fault[];
  /** How long movers stay at points, in milliseconds: the log grows, and others come in between. */
  readonly delays: Readonly<Record<string, number>>;
}

export interface DrawOptions {
  /** The databases that are behind a network. */
  readonly servers: readonly Place[];
  readonly killsServer: boolean;
}

export function drawSchedule(seed: number, { servers, killsServer }: DrawOptions): Schedule {
  const random = new SeededRandom(seed);
  const runMs = random.int(250, 600);
  const layout = random.chance(0.35) ? "range" : "points";
  const points = MOVE_POINTS.filter((point) => layout === "range" || !/^(shape|merge):/.test(point));
  const writers = random.int(2, 3);
  const movers = random.int(1, 2);
  const atMs = () => random.int(0, runMs);
  const drawFault = (): Fault => {
    const mover = random.int(0, movers - 1);
    const party = random.chance(0.6) ? "movers" : "writers";
    const process = party === "movers" ? mover : random.int(0, writers - 1);
    const draw = random.int(1, servers.length > 0 ? 10 : 6);
    if (draw <= 2) return { kind: "killAtPoint", mover, point: random.pick(points), after: random.int(1, 3) };
    if (draw <= 4) return { kind: "stopAtPoint", mover, point: random.pick(points), after: random.int(1, 2) };
    if (draw === 5) return { kind: "kill", party, process, atMs: atMs() };
    if (draw === 6) return { kind: "stop", party, process, atMs: atMs(), forMs: random.int(100, 400) };
    const how = random.pick(["drop", "drop", "swallow", "swallow", "stall", "refuse"] as const);
    const place = random.pick(servers);
    return { kind: "network", how, party, place, atMs: atMs(), forMs: random.int(20, 300) };
  };
  const faults: Fault[] = Array.from({ length: random.int(1, 3) }, drawFault);
  if (killsServer && servers.length > 0)
    faults.push({
      kind: "server",
      place: random.pick(servers),
      atMs: atMs(),
      downMs: random.int(0, 300),
    });
  return {
    seed,
    layout,
    keys: random.int(2, 4),
    writers,
    movers,
    pauseMs: random.int(2, 20),
    runMs,
    faults,
    delays: random.chance(0.4) ? { [random.pick(points)]: random.int(20, 250) } : {},
  };
}

export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case "killAtPoint":
    case "stopAtPoint":
      return `${fault.kind} mover ${fault.mover} at ${fault.point} (${fault.after})`;
    case "kill":
      return `kill ${fault.party} ${fault.process} after ${fault.atMs} ms`;
    case "stop":
      return `stop ${fault.party} ${fault.process} after ${fault.atMs} ms for ${fault.forMs} ms`;
    case "network":
      return `${fault.how} ${fault.party} to ${fault.place} after ${fault.atMs} ms for ${fault.forMs} ms`;
    case "server":
      return `kill the server of ${fault.place} after ${fault.atMs} ms for ${fault.downMs} ms`;
  }
}

export function describeSchedule(schedule: Schedule): string {
  const { seed, layout, keys, writers, movers, runMs, faults, delays } = schedule;
  const slow = Object.entries(delays).map(([point, ms]) => `${ms} ms at ${point}`);
  return `seed ${seed}: ${keys} keys as ${layout}, ${writers} writers, ${movers} movers, ${runMs} ms; ${[...slow, ...faults.map(describeFault)].join("; ")}`;
}
