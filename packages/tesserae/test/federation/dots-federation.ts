/** A federation of users, sheets and dots on fresh databases of one engine, as most suites use it. */
import type { FreshDatabases, TestEngine } from "@tesserae/test-support";
import {
  bigint,
  boolean,
  decimal,
  defineSchema,
  type Federation,
  type FederationConfig,
  federate,
  federated,
  global,
  int,
  json,
  reference,
  text,
  timestamp,
} from "../../src/index.ts";

export const dotsSchema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: bigint().ticket(), name: text(64).unique(), created: timestamp().defaultNow() }),
    themes: reference({ id: bigint(), label: text(64) }),
    sheets: federated("user_id", {
      id: bigint().ticket(),
      user_id: bigint(),
      theme_id: bigint().nullable().references("themes"),
      label: text(255),
    }),
    dots: federated(
      "user_id",
      {
        id: bigint().ticket(),
        user_id: bigint(),
        sheet_id: bigint().references("sheets"),
        lat: decimal(9, 6),
        lon: decimal(9, 6),
        hits: int().default(0),
        open: boolean().default(true),
        details: json().nullable(),
        created: timestamp().defaultNow(),
      },
      { indexes: [["user_id", "created"]], unique: [["user_id", "sheet_id", "lat", "lon"]] },
    ),
  },
});

export type DotsFederation = Federation<typeof dotsSchema>;

export interface OpenedFederation extends AsyncDisposable {
  readonly fed: DotsFederation;
  readonly databases: FreshDatabases;
  readonly config: FederationConfig<typeof dotsSchema>;
}

/** `shards: 0` is poor man's mode; otherwise main and that many shards, spread over two servers. */
export async function openDots(
  engine: TestEngine,
  shards: number,
  options: Partial<FederationConfig<typeof dotsSchema>> = {},
): Promise<OpenedFederation> {
  const databases = await engine.databases(shards + 1, { servers: 2 });
  const [main, ...rest] = databases.urls as [string, ...string[]];
  const config: FederationConfig<typeof dotsSchema> = {
    schema: dotsSchema,
    main,
    ...(shards === 0 ? {} : { shards: Object.fromEntries(rest.map((url, index) => [index + 1, url])) }),
    ...options,
  };
  const fed = await federate(config);
  await fed.schema.apply();
  return {
    fed,
    databases,
    config,
    async [Symbol.asyncDispose]() {
      await fed.close();
      await databases.cleanUp();
    },
  };
}

/** A user with a sheet, on the shard asked for. Gives the ids. */
export async function addUser(
  fed: DotsFederation,
  name: string,
  shard?: number,
): Promise<{ id: bigint; sheet: bigint }> {
  const id = await fed.tickets.next("users");
  await fed.main.insertInto("users").values({ id, name }).execute();
  await fed.tenants.add(id, shard === undefined ? {} : { shard });
  const sheet = await fed.tickets.next("sheets");
  await fed
    .at(id)
    .insertInto("sheets")
    .values({ id: sheet, label: `${name}'s` })
    .execute();
  return { id, sheet };
}

export async function addDot(
  fed: DotsFederation,
  user: { id: bigint; sheet: bigint },
  lat: string,
  lon: string,
): Promise<bigint> {
  const id = await fed.tickets.next("dots");
  await fed.at(user.id).insertInto("dots").values({ id, sheet_id: user.sheet, lat, lon }).execute();
  return id;
}
