/** A federation of albums on three shards, where tests stop movers and queries over all shards at named points. */

import type { Database, Engine } from "../../src/engine/contract.ts";
import {
  STEADY_INTERNALS,
  type SteadyInternals,
  type SteadyPoint,
} from "../../src/fan-out/steady/steady-points.ts";
import { type FederationConfig, TesseraeError } from "../../src/index.ts";
import type { MoveInternals } from "../../src/move/move-internals.ts";
import { type Albums, type AlbumsFederation, openAlbums, type schema } from "../move/albums.ts";
import { type MoveSite, SiteDatabases } from "../move/move-sites.ts";

type Config = Partial<FederationConfig<typeof schema>>;

/** What a query over all shards does at its named points. */
export class SteadyHooks implements SteadyInternals {
  alwaysCarefully = false;
  /** How often main was looked at. */
  looks = 0;
  /** How often all snapshots were open. */
  tries = 0;
  atPoint: (point: SteadyPoint, shard?: number) => void | Promise<void> = () => {};

  at(point: SteadyPoint, shard?: number): void | Promise<void> {
    if (point === "look") this.looks += 1;
    if (point === "opened" && shard === undefined) this.tries += 1;
    return this.atPoint(point, shard);
  }

  reset(): void {
    this.alwaysCarefully = false;
    this.atPoint = () => {};
  }
}

/** An engine whose databases can be made to answer nobody. */
function unreliable(engine: Engine, isDown: () => boolean): Engine {
  const wrap = (database: Database): Database => {
    const whenUp = <T>(work: () => Promise<T>): Promise<T> =>
      isDown() ? Promise.reject(new TesseraeError("CONNECT_FAILED", "The shard is down.")) : work();
    return {
      engine: database.engine,
      get stats() {
        return database.stats;
      },
      run: (statement) => whenUp(() => database.run(statement)),
      acquire: (options) => whenUp(() => database.acquire(options)),
      close: (timeoutMs) => database.close(timeoutMs),
    };
  };
  return {
    name: engine.name,
    dialect: engine.dialect,
    address: engine.address,
    control: () => engine.control(),
    open: (options, failover) => wrap(engine.open(options, failover)),
  };
}

export class SteadySite implements AsyncDisposable {
  readonly albums: Albums;
  readonly hooks: SteadyHooks;
  /** Shards that cannot be reached. */
  readonly down: Set<number>;
  readonly #databases: SiteDatabases;

  private constructor(albums: Albums, hooks: SteadyHooks, down: Set<number>, databases: SiteDatabases) {
    this.albums = albums;
    this.hooks = hooks;
    this.down = down;
    this.#databases = databases;
  }

  static async of(site: MoveSite, config: Config = {}, internals: MoveInternals = {}): Promise<SteadySite> {
    const databases = await SiteDatabases.of(site);
    const hooks = new SteadyHooks();
    const down = new Set<number>();
    const albums = await openAlbums(databases.urls, {
      ...internals,
      around: (engine, shard) => (shard === 0 ? engine : unreliable(engine, () => down.has(shard))),
      config: { ...config, [STEADY_INTERNALS]: hooks } as Config,
    });
    return new SteadySite(albums, hooks, down, databases);
  }

  get fed(): AlbumsFederation {
    return this.albums.fed;
  }

  get urls(): readonly string[] {
    return this.#databases.urls;
  }

  /** Everybody's photos, by owner and id. */
  async photos(): Promise<string[]> {
    return asText(await photosOf(this.fed.everywhere).execute());
  }

  /** The same of the shards that can be reached, and the numbers of the others. */
  async somePhotos(): Promise<{ photos: string[]; missing: number[] }> {
    const partial = this.fed.everywhere.using({ mode: "partial" });
    const { rows, missing } = await partial.run(photosOf(partial));
    return { photos: asText(rows), missing: missing.map(({ shard }) => shard) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.albums[Symbol.asyncDispose]();
    await this.#databases[Symbol.asyncDispose]();
  }
}

function photosOf(everywhere: AlbumsFederation["everywhere"]) {
  return everywhere.selectFrom("photos").select(["owner", "id", "title"]).orderBy("owner").orderBy("id");
}

function asText(rows: readonly { owner: bigint; id: bigint; title: string }[]): string[] {
  return rows.map(({ owner, id, title }) => `${owner} ${id} ${title}`);
}
