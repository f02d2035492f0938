/** A federation with lookups on fresh databases: people with an e-mail that is unique among all keys, and dots that are found by their id. */
import type { FreshDatabases, TestEngine } from "@tesserae/test-support";
import {
  bigint,
  defineSchema,
  type Federation,
  type FederationConfig,
  federate,
  federated,
  int,
  text,
} from "../../src/index.ts";
import { LOOKUP_INTERNALS, type LookupInternals } from "../../src/open-lookups.ts";

export const lookupSchema = defineSchema({
  key: bigint(),
  tables: {
    people: federated("user_id", {
      id: bigint(),
      user_id: bigint(),
      email: text(64).nullable().unique(),
      visits: int().default(0),
    }),
    dots: federated(
      "user_id",
      { id: bigint().ticket(), user_id: bigint(), label: text(64).nullable() },
      { lookup: ["id"] },
    ),
    notes: federated("user_id", { id: bigint(), user_id: bigint(), body: text(200) }),
  },
});

export type LookupFederation = Federation<typeof lookupSchema>;

export interface LookupSite extends AsyncDisposable {
  readonly fed: LookupFederation;
  readonly urls: readonly string[];
}

export function lookupConfig(
  urls: readonly string[],
  internals: LookupInternals = {},
): FederationConfig<typeof lookupSchema> {
  const [main, ...shards] = urls as [string, ...string[]];
  return {
    schema: lookupSchema,
    main,
    ...(shards.length === 0
      ? {}
      : { shards: Object.fromEntries(shards.map((url, index) => [index + 1, url])) }),
    // A move waits for it.
    directory: { leaseMs: 300 },
    [LOOKUP_INTERNALS]: internals,
  } as FederationConfig<typeof lookupSchema>;
}

/** `shards: 0` is poor man's mode. Keys 1n and 3n live on the first shard, 2n and 4n on the second. */
export async function openLookupSite(
  engine: TestEngine,
  shards: number,
  internals: LookupInternals = {},
): Promise<LookupSite & { readonly databases: FreshDatabases }> {
  const databases = await engine.databases(shards + 1, { servers: 2 });
  const fed = await federate(lookupConfig(databases.urls, internals));
  await fed.schema.apply();
  for (const key of [1n, 2n, 3n, 4n])
    await fed.tenants.add(key, { shard: shards === 0 ? 1 : ((Number(key) - 1) % shards) + 1 });
  return {
    fed,
    urls: databases.urls,
    databases,
    async [Symbol.asyncDispose]() {
      await fed.close();
      await databases.cleanUp();
    },
  };
}
