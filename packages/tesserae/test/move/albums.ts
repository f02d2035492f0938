/** A federation of albums and photos, for the tests of moves: tables that refer to each other and to themselves, second unique keys, rows in the control database. */
import type { Engine } from "../../src/engine/contract.ts";
import {
  bigint,
  defineSchema,
  type Federation,
  type FederationConfig,
  federate,
  federated,
  reference,
  text,
} from "../../src/index.ts";
import { MOVE_INTERNALS, type MoveInternals } from "../../src/move/move-internals.ts";
import { engineAt } from "../engine/open-database.ts";

export const schema = defineSchema({
  key: bigint(),
  tables: {
    licences: reference({ id: bigint(), name: text(40) }),
    albums: federated("owner", {
      id: bigint(),
      owner: bigint(),
      parent_id: bigint().nullable().references("albums"),
      cover_id: bigint().nullable().references("photos"),
      name: text(100),
    }),
    photos: federated(
      "owner",
      {
        id: bigint(),
        owner: bigint(),
        album_id: bigint().nullable().references("albums"),
        title: text(),
        place: text(20).nullable(),
      },
      { unique: [["owner", "place"]] },
    ),
    empty: federated("owner", { id: bigint(), owner: bigint() }),
  },
});

export type AlbumsFederation = Federation<typeof schema>;

export interface AlbumsOptions extends MoveInternals {
  readonly config?: Partial<FederationConfig<typeof schema>>;
}

export class Albums implements AsyncDisposable {
  readonly fed: AlbumsFederation;
  readonly #engines: readonly Engine[];

  constructor(fed: AlbumsFederation, engines: readonly Engine[]) {
    this.fed = fed;
    this.#engines = engines;
  }

  /** Adds a key to a shard, with photos in albums. */
  async fill(key: bigint, photos: number, shard = 1): Promise<void> {
    await this.fed.tenants.add(key, { shard });
    await this.addRows(key, photos);
  }

  /** A chain of two albums, the inner one's cover among the photos. */
  async addRows(key: bigint, photos: number, from = 0): Promise<void> {
    const id = (index: number) => BigInt(from + index);
    await this.fed
      .at(key)
      .transaction()
      .execute(async (tx) => {
        await tx
          .insertInto("albums")
          .values([
            { id: id(1), parent_id: null, cover_id: null, name: "outer" },
            { id: id(2), parent_id: id(1), cover_id: null, name: "inner" },
          ])
          .execute();
        await tx
          .insertInto("photos")
          .values(
            Array.from({ length: photos }, (_, index) => ({
              id: id(index + 1),
              album_id: id((index % 2) + 1),
              title: `photo ${index} of ${key}`,
              place: `${from + index}`,
            })),
          )
          .execute();
        await tx
          .updateTable("albums")
          .set({ cover_id: id(photos) })
          .where("id", "=", id(1))
          .execute();
      });
  }

  async rowsOf(key: bigint) {
    const session = this.fed.at(key);
    return {
      albums: await session.selectFrom("albums").selectAll().orderBy("id").execute(),
      photos: await session.selectFrom("photos").selectAll().orderBy("id").execute(),
    };
  }

  /** Rows by table, asked of a shard's database itself. */
  async counts(shard: number): Promise<Record<string, number>> {
    const database = (this.#engines[shard] as Engine).open({
      connectionsMax: 1,
      acquireTimeoutMs: 10_000,
      connectTimeoutMs: 10_000,
      idleTimeoutMs: 1_000,
      statementCacheEntries: 0,
    });
    try {
      const counts: Record<string, number> = {};
      for (const table of ["albums", "photos", "empty", "tesserae_log_default"]) {
        const { rows } = await database.run({
          sql: `select count(*) as n from ${table}`,
          parameters: [],
          readOnly: true,
        });
        counts[table] = Number(rows[0]?.["n"]);
      }
      return counts;
    } finally {
      await database.close();
    }
  }

  /** What `counts` gives for a shard of these keys with so many photos each. */
  expected(keys: readonly (readonly [bigint, number])[]): Record<string, number> {
    return {
      albums: 2 * keys.length,
      photos: keys.reduce((sum, [, photos]) => sum + photos, 0),
      empty: 0,
      tesserae_log_default: 0,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fed.close();
  }
}

/** The first URL is main's, the others are the shards', from 1. Creates the tables unless they are there. */
export async function openAlbums(urls: readonly string[], options: AlbumsOptions = {}): Promise<Albums> {
  const engines = await Promise.all(urls.map((url) => engineAt(url)));
  const { config, ...internals } = options;
  const [main, ...shards] = engines as [Engine, ...Engine[]];
  const fed = await federate<typeof schema>({
    schema,
    main,
    shards: Object.fromEntries(shards.map((engine, index) => [index + 1, engine])),
    ...config,
    [MOVE_INTERNALS]: internals,
  } as FederationConfig<typeof schema>);
  await fed.schema.apply();
  return new Albums(fed, engines);
}
