/** A federation of dots on real replication: main and two shards as databases of one set of servers, each with the set's replicas. */
import {
  type ReplicatedDatabase,
  type ReplicatedServers,
  type ServerEngine,
  startReplicated,
} from "@tesserae/test-support";
import { type FederationConfig, federate, type ReplicaStatus } from "../../src/index.ts";
import { type DotsFederation, dotsSchema } from "../federation/dots-federation.ts";

export const REPLICATED_ENGINES = ["mysql", "postgres"] as const;

export function startServers(engine: ServerEngine, replicas = 2): Promise<ReplicatedServers> {
  return startReplicated(engine, { replicas });
}

export type DotsConfig = FederationConfig<typeof dotsSchema>;

export interface ReplicatedFederation extends AsyncDisposable {
  readonly fed: DotsFederation;
  readonly config: DotsConfig & { readonly replicas: readonly string[] };
  /** Another process's federation, as it were. */
  open(options?: Partial<DotsConfig>): Promise<DotsFederation>;
}

/** `shards: 0` is main alone with its replicas. */
export async function openReplicated(
  servers: ReplicatedServers,
  shards: number,
  options: Partial<DotsConfig> = {},
): Promise<ReplicatedFederation> {
  const databases: ReplicatedDatabase[] = [];
  for (let i = 0; i <= shards; i++) databases.push(await servers.freshDatabase());
  const [main, ...rest] = databases.map(({ urls: [primary, ...replicas] }) => ({ primary, replicas }));
  const config = {
    schema: dotsSchema,
    main: main?.primary as string,
    replicas: main?.replicas ?? [],
    ...(shards === 0
      ? {}
      : {
          shards: Object.fromEntries(
            rest.map(({ primary, replicas }, index) => [index + 1, { primary: primary as string, replicas }]),
          ),
        }),
    ...options,
  } satisfies DotsConfig as ReplicatedFederation["config"];
  const opened: DotsFederation[] = [];
  const open = async (more: Partial<DotsConfig> = {}) => {
    const fed = await federate({ ...config, ...more });
    opened.push(fed);
    return fed;
  };
  const fed = await open();
  await fed.schema.apply();
  await servers.waitUntilCaughtUp();
  return {
    fed,
    config,
    open,
    async [Symbol.asyncDispose]() {
      await Promise.all(opened.map((each) => each.close()));
      for (const database of databases) await database.drop();
    },
  };
}

export const statesOf = (fed: DotsFederation): string[] => fed.status().replicas.map(({ state }) => state);

/** Reads until the replicas are as `fits` says: reading is what they are watched for. */
export async function readUntil(
  fed: DotsFederation,
  fits: (replicas: readonly ReplicaStatus[]) => boolean,
  timeoutMs = 20_000,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!fits(fed.status().replicas)) {
    if (performance.now() > endMs)
      throw new Error(`The replicas did not get there: ${JSON.stringify(fed.status().replicas, null, 1)}`);
    await fed.replica.selectFrom("users").select("id").limit(1).execute();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Reads until each of the servers has answered; who else answers is an error. The first look at a set does not wait for the slowest. */
export async function untilAllServe(
  servers: readonly { readonly port: number }[],
  readPort: () => Promise<number>,
  others: readonly { readonly port: number }[] = [],
): Promise<void> {
  const expected = new Set(servers.map(({ port }) => port));
  const allowed = new Set([...expected, ...others.map(({ port }) => port)]);
  const endMs = performance.now() + 20_000;
  while (expected.size > 0) {
    const port = await readPort();
    if (!allowed.has(port)) throw new Error(`The server on port ${port} answered, which should not.`);
    expected.delete(port);
    if (performance.now() > endMs) throw new Error(`Nobody on port ${[...expected].join()} answered.`);
  }
}
