/** A federation of albums and photos, for the tests of moves: tables that refer to each other and to themselves, second unique keys, rows in the control database. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Database, Engine, EngineDialect } from "../../src/engine/contract.ts";
import { asMover } from "../../src/engine/mover.ts";
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
import type { MovePoint } from "../../src/move/move-points.ts";
import { engineAt } from "../engine/open-database.ts";

export const tables = {
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
  empty: federated("owner", {
    id: bigint(),
    owner: bigint(),
    licence_id: bigint().nullable().references("licences"),
  }),
};

export const schema = defineSchema({ key: bigint(), tables });

export type AlbumsFederation = Federation<typeof schema>;

export interface AlbumsOptions extends MoveInternals {
  readonly config?: Partial<FederationConfig<typeof schema>>;
  /** False: the tables are there, and the login may not create any. */
  readonly apply?: boolean;
  /** Comes between the federation and its engines: main's is 0. */
  readonly around?: (engine: Engine, shard: number) => Engine;
}

/** A residence or a directory row, in what tests look at. */
export interface Tenure {
  readonly kind: string;
  readonly low: bigint;
  readonly state: string;
  readonly epoch: bigint;
}

export const LEASE_MS = 30;
/** Moves that end soon. */
export const QUICK = { graceMs: LEASE_MS };

/** For databases that a test looks into past every session. */
const OWN_POOL = {
  connectionsMax: 2,
  acquireTimeoutMs: 10_000,
  connectTimeoutMs: 10_000,
  idleTimeoutMs: 1_000,
  statementCacheEntries: 0,
};

export class Albums implements AsyncDisposable {
  readonly fed: AlbumsFederation;
  /** What a move of this federation does at its named points: a test sets it, and moves await it. */
  atPoint: (point: MovePoint) => void | Promise<void> = () => {};
  readonly #engines: readonly Engine[];
  /** 0 is main's control database. */
  readonly #databases = new Map<number, Database>();

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

  /** The only move under way. */
  async moveId(): Promise<bigint> {
    const moves = await this.fed.moves.list();
    if (moves.length !== 1) throw new Error(`${moves.length} moves are under way`);
    return moves[0]?.id as bigint;
  }

  /** Ends a move that waits for its time of grace. */
  async purgeNow(id: bigint): Promise<void> {
    await this.fed.moves.pause(id);
    await this.sql(
      0,
      `update tesserae_moves set progress = replace(progress, '"purgeAfter"', '"was"') where id = ${id}`,
    );
    await this.fed.moves.resume(id);
  }

  /** Resolves when main has been told so, whether or not whoever runs the move has heard of it. */
  async untilWanted(id: bigint, wanted: "abort" | "pause"): Promise<void> {
    for (;;) {
      const [row] = await this.sql(0, `select wanted from tesserae_moves where id = ${id}`);
      if (row?.["wanted"] === wanted) return;
      await sleep(2);
    }
  }

  /** SQL with `?` on a shard's database, or with 0 on main's control database, past every session. */
  async sql(
    shard: number,
    text: string,
    parameters: readonly unknown[] = [],
  ): Promise<Record<string, unknown>[]> {
    const sql = this.dialect(shard).placeholders(text);
    return (await this.#database(shard).run({ sql, parameters, prepare: parameters.length > 0 })).rows;
  }

  /** Statements on a shard past its guard, as nobody but the mover should send them, with the token of a key's residence. */
  async pastGuard(shard: number, key: bigint, ...statements: readonly string[]): Promise<void> {
    const rows = await this.sql(shard, `select token from tesserae_residence_default where low = ${key}`);
    const token = BigInt(rows[0]?.["token"] as string);
    const connection = await this.#database(shard).acquire();
    try {
      await connection.begin({});
      await asMover(connection, { dialect: this.dialect(shard), token }, async () => {
        for (const sql of statements) await connection.run({ sql, parameters: [], prepare: false });
      });
      await connection.commit();
    } finally {
      connection.release();
    }
  }

  /** The residences of a shard; of one key where it is given. */
  async residences(shard: number, key?: bigint): Promise<Tenure[]> {
    const where = key === undefined ? "" : ` where low = ${key}`;
    const rows = await this.sql(
      shard,
      `select kind, low, state, epoch from tesserae_residence_default${where} order by kind, low`,
    );
    return rows.map(({ kind, low, state, epoch }) => ({
      kind: String(kind),
      low: BigInt(low as string),
      state: String(state),
      epoch: BigInt(epoch as string),
    }));
  }

  /** Rows by table, asked of a shard's database itself. */
  async counts(shard: number): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const table of ["albums", "photos", "empty", "tesserae_log_default"]) {
      const rows = await this.sql(shard, `select count(*) as n from ${table}`);
      counts[table] = Number(rows[0]?.["n"]);
    }
    return counts;
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

  dialect(shard: number): EngineDialect {
    return (this.#engines[shard] as Engine).dialect;
  }

  #database(shard: number): Database {
    let database = this.#databases.get(shard);
    if (database === undefined) {
      const engine = this.#engines[shard] as Engine;
      database = (shard === 0 ? engine.control() : engine).open(OWN_POOL);
      this.#databases.set(shard, database);
    }
    return database;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fed.close();
    await Promise.all([...this.#databases.values()].map((database) => database.close()));
  }
}

/** The first URL is main's, the others are the shards', from 1. Creates the tables unless they are there. */
export async function openAlbums(urls: readonly string[], options: AlbumsOptions = {}): Promise<Albums> {
  const engines = await Promise.all(urls.map((url) => engineAt(url)));
  const { config, at, apply = true, around = (engine) => engine, ...internals } = options;
  const [main, ...shards] = engines.map(around) as [Engine, ...Engine[]];
  const opened: { albums?: Albums } = {};
  const fed = await federate<typeof schema>({
    schema,
    main,
    shards: Object.fromEntries(shards.map((engine, index) => [index + 1, engine])),
    directory: { leaseMs: LEASE_MS },
    ...config,
    [MOVE_INTERNALS]: { ...internals, at: (point: MovePoint) => opened.albums?.atPoint(point) },
  } as FederationConfig<typeof schema>);
  if (apply) await fed.schema.apply();
  opened.albums = new Albums(fed, engines);
  if (at !== undefined) opened.albums.atPoint = at;
  return opened.albums;
}
