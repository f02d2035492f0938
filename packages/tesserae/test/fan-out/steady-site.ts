/** A federation of albums on three shards, where tests stop movers and queries over all shards at named points. */
import {
  STEADY_INTERNALS,
  type SteadyInternals,
  type SteadyPoint,
} from "../../src/fan-out/steady/steady-points.ts";
import type { FederationConfig } from "../../src/index.ts";
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

export class SteadySite implements AsyncDisposable {
  readonly albums: Albums;
  readonly hooks: SteadyHooks;
  readonly #databases: SiteDatabases;

  private constructor(albums: Albums, hooks: SteadyHooks, databases: SiteDatabases) {
    this.albums = albums;
    this.hooks = hooks;
    this.#databases = databases;
  }

  static async of(site: MoveSite, config: Config = {}, internals: MoveInternals = {}): Promise<SteadySite> {
    const databases = await SiteDatabases.of(site);
    const hooks = new SteadyHooks();
    const albums = await openAlbums(databases.urls, {
      ...internals,
      config: { ...config, [STEADY_INTERNALS]: hooks } as Config,
    });
    return new SteadySite(albums, hooks, databases);
  }

  get fed(): AlbumsFederation {
    return this.albums.fed;
  }

  get urls(): readonly string[] {
    return this.#databases.urls;
  }

  /** Everybody's photos, by owner and id. */
  async photos(): Promise<string[]> {
    const rows = await this.fed.everywhere
      .selectFrom("photos")
      .select(["owner", "id", "title"])
      .orderBy("owner")
      .orderBy("id")
      .execute();
    return rows.map(({ owner, id, title }) => `${owner} ${id} ${title}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.albums[Symbol.asyncDispose]();
    await this.#databases[Symbol.asyncDispose]();
  }
}
