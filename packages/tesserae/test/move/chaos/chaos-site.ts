/**
 * Main and two shards for chaos, on engines that may differ: each database on a server of its own that may be killed, and before it a proxy for the
 * movers and another one for the writers, so that the network can fail for one of them alone. A SQLite file has neither.
 */
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type EngineName,
  freshDatabases,
  type PrivateServer,
  startMariaDb,
  startPostgres,
  TcpProxy,
  whyUnavailable,
} from "@tesserae/test-support";
import { federate } from "../../../src/index.ts";
import { MOVE_INTERNALS, type MoveInternals } from "../../../src/move/move-internals.ts";
import type { MovePoint } from "../../../src/move/move-points.ts";
import type { ChaosAddresses } from "./chaos-messages.ts";
import { ChaosProcess } from "./chaos-process.ts";
import { type ChaosFederation, chaosSchema } from "./chaos-schema.ts";
import { LEASE_MS, RUNNER_SILENT_MS } from "./chaos-timing.ts";

/** Which engine plays what; keys begin on the source and move to the target and back. */
export interface EnginePlan {
  readonly name: string;
  readonly main: EngineName;
  readonly source: EngineName;
  readonly target: EngineName;
}

export const ENGINE_PLANS: readonly EnginePlan[] = [
  { name: "sqlite", main: "sqlite", source: "sqlite", target: "sqlite" },
  { name: "mysql", main: "mysql", source: "mysql", target: "mysql" },
  { name: "postgres", main: "postgres", source: "postgres", target: "postgres" },
  { name: "sqlite to mysql", main: "mysql", source: "sqlite", target: "mysql" },
  { name: "sqlite to postgres", main: "sqlite", source: "sqlite", target: "postgres" },
  { name: "mysql to postgres", main: "postgres", source: "mysql", target: "postgres" },
];

/** Those that can run here; `TESSERAE_CHAOS_PLANS` (names with commas between) leaves the others out. */
export function whyLeftOut(plan: EnginePlan): string | undefined {
  const chosen = process.env.TESSERAE_CHAOS_PLANS?.split(",");
  if (chosen !== undefined && !chosen.includes(plan.name)) return "TESSERAE_CHAOS_PLANS";
  return PLACES.map((place) => whyUnavailable(plan[place])).find((reason) => reason !== undefined);
}

export const PLACES = ["main", "source", "target"] as const;
export type Place = (typeof PLACES)[number];
export const PARTIES = ["movers", "writers"] as const;
export type Party = (typeof PARTIES)[number];

/**
 * A process's end loses no commit that has reached the operating system, so that flushing to the disk adds nothing here but time.
 */
const START: Readonly<Record<"mysql" | "postgres", () => Promise<PrivateServer>>> = {
  mysql: () => startMariaDb({ durability: "relaxed" }),
  postgres: () => startPostgres({ settings: { fsync: "off" } }),
};

interface PlaceParts {
  readonly engine: EngineName;
  readonly url: string;
  /** Undefined where the database is a file. */
  readonly server: PrivateServer | undefined;
  readonly proxies: Readonly<Record<Party, TcpProxy>> | undefined;
}

/** Servers that may be killed, kept from one site to the next: three of each engine at most. */
export class ServerFarm implements AsyncDisposable {
  readonly #servers = new Map<string, Promise<PrivateServer>>();

  server(engine: "mysql" | "postgres", place: Place): Promise<PrivateServer> {
    const name = `${engine} ${place}`;
    let server = this.#servers.get(name);
    if (server === undefined) {
      server = START[engine]();
      this.#servers.set(name, server);
    }
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#servers.values()].map(async (server) => (await server).stop()));
  }
}

export class ChaosSite implements AsyncDisposable {
  readonly plan: EnginePlan;
  /** In this process, past all proxies. */
  readonly fed: ChaosFederation;
  readonly ledgerFolder: string;
  readonly #places: Readonly<Record<Place, PlaceParts>>;
  readonly #cleanUps: (() => Promise<void>)[];
  readonly #processes = new Set<ChaosProcess>();
  #processesStarted = 0;

  private constructor(
    plan: EnginePlan,
    places: Readonly<Record<Place, PlaceParts>>,
    fed: ChaosFederation,
    cleanUps: (() => Promise<void>)[],
  ) {
    this.plan = plan;
    this.fed = fed;
    this.ledgerFolder = mkdtempSync(join(tmpdir(), "tesserae-ledger-"));
    this.#places = places;
    this.#cleanUps = cleanUps;
  }

  static async open(plan: EnginePlan, farm: ServerFarm): Promise<ChaosSite> {
    const cleanUps: (() => Promise<void>)[] = [];
    const openPlace = async (place: Place): Promise<PlaceParts> => {
      const engine = plan[place];
      if (engine === "sqlite") {
        const file = await freshDatabases("sqlite", 1);
        cleanUps.push(() => file.cleanUp());
        return { engine, url: file.urls[0] as string, server: undefined, proxies: undefined };
      }
      const server = await farm.server(engine, place);
      const url = await server.createDatabase();
      cleanUps.push(() => server.dropDatabase(url));
      const proxies = { movers: await TcpProxy.toUrl(url), writers: await TcpProxy.toUrl(url) };
      cleanUps.unshift(async () => {
        await Promise.all([proxies.movers.close(), proxies.writers.close()]);
      });
      return { engine, url, server, proxies };
    };
    const [main, source, target] = await Promise.all(PLACES.map(openPlace));
    const places = { main, source, target } as Readonly<Record<Place, PlaceParts>>;
    const fed = await openFederation({
      main: places.main.url,
      shards: [places.source.url, places.target.url],
    });
    await fed.schema.apply();
    return new ChaosSite(plan, places, fed, cleanUps);
  }

  /** URLs past the proxies. */
  get addresses(): ChaosAddresses {
    const { main, source, target } = this.#places;
    return { main: main.url, shards: [source.url, target.url] };
  }

  /** The servers that can be killed. */
  get servers(): readonly Place[] {
    return PLACES.filter((place) => this.#places[place].server !== undefined);
  }

  server(place: Place): PrivateServer {
    const { server } = this.#places[place];
    if (server === undefined) throw new Error(`${place} is a file.`);
    return server;
  }

  proxy(party: Party, place: Place): TcpProxy {
    const { proxies } = this.#places[place];
    if (proxies === undefined) throw new Error(`${place} is a file.`);
    return proxies[party];
  }

  /** Lets the network be as it should be, for everybody. */
  heal(): void {
    for (const place of this.servers) for (const party of PARTIES) this.proxy(party, place).heal();
  }

  /** A new process whose connections go by way of its party's proxies. */
  start(party: Party): ChaosProcess {
    this.#processesStarted += 1;
    const number = this.#processesStarted;
    const urlOf = (place: Place) => {
      const { url, proxies } = this.#places[place];
      return proxies === undefined ? url : proxies[party].url(url);
    };
    const started = new ChaosProcess({
      name: `${number}-${party.slice(0, -1)}`,
      addresses: { main: urlOf("main"), shards: [urlOf("source"), urlOf("target")] },
      ledgerFolder: this.ledgerFolder,
      firstId: `${BigInt(number) * 10n ** 12n}`,
      leaseMs: LEASE_MS,
    });
    this.#processes.add(started);
    started.ended.then(() => this.#processes.delete(started));
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#processes].map((process) => process.kill()));
    await this.fed.close();
    for (const cleanUp of this.#cleanUps) await cleanUp();
    await rm(this.ledgerFolder, { recursive: true, force: true });
  }
}

/** A federation as all processes of a site open it. */
export function openFederation(
  { main, shards }: ChaosAddresses,
  leaseMs: number = LEASE_MS,
  at: (point: MovePoint) => void | Promise<void> = () => {},
): Promise<ChaosFederation> {
  const internals: { readonly [MOVE_INTERNALS]: MoveInternals } = {
    [MOVE_INTERNALS]: { at, runnerSilentMs: RUNNER_SILENT_MS },
  };
  return federate({
    ...internals,
    schema: chaosSchema,
    main,
    shards: Object.fromEntries(shards.map((url, index) => [index + 1, url])),
    directory: { leaseMs },
    pool: { connectTimeoutMs: 2_000, acquireTimeoutMs: 5_000 },
  });
}
