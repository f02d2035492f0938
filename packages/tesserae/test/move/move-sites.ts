/** Where the tests of moves run: a federation of albums on one engine, or with shards of two. Shard 1 is the source, shard 2 the target. */
import { type EngineName, freshDatabases, whyUnavailable } from "@tesserae/test-support";
import { afterAll, beforeAll, describe } from "vitest";
import { type Albums, type AlbumsOptions, openAlbums } from "./albums.ts";

export interface MoveSite {
  readonly name: string;
  readonly main: EngineName;
  readonly shards: readonly EngineName[];
}

const alike = (name: EngineName): MoveSite => ({ name, main: name, shards: [name, name] });

export const ENGINES: readonly MoveSite[] = [alike("sqlite"), alike("mysql"), alike("postgres")];

/** Main is on the source's engine, the target's, and the source's again. */
export const PAIRS: readonly MoveSite[] = [
  { name: "sqlite to mysql", main: "sqlite", shards: ["sqlite", "mysql"] },
  { name: "sqlite to postgres", main: "postgres", shards: ["sqlite", "postgres"] },
  { name: "mysql to postgres", main: "mysql", shards: ["mysql", "postgres"] },
];

/** Why a site cannot be there, or undefined. That no engine is left out under CI=true is `forEachEngine`'s to see. */
export function whyNot({ main, shards }: MoveSite): string | undefined {
  return [main, ...shards].map(whyUnavailable).find((reason) => reason !== undefined);
}

/** Fresh databases, main's first; the shards are spread over two servers. */
export class SiteDatabases implements AsyncDisposable {
  readonly urls: readonly string[];
  readonly #cleanUps: readonly (() => Promise<void>)[];

  private constructor(urls: readonly string[], cleanUps: readonly (() => Promise<void>)[]) {
    this.urls = urls;
    this.#cleanUps = cleanUps;
  }

  static async of({ main, shards }: MoveSite): Promise<SiteDatabases> {
    const names = [main, ...shards];
    const engines = [...new Set(names)];
    const fresh = await Promise.all(
      engines.map((engine) =>
        freshDatabases(engine, names.filter((name) => name === engine).length, { servers: 2 }),
      ),
    );
    const left = new Map(engines.map((engine, index) => [engine, [...(fresh[index]?.urls ?? [])]]));
    const urls = names.map((name) => left.get(name)?.shift() as string);
    return new SiteDatabases(
      urls,
      fresh.map(({ cleanUp }) => cleanUp),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#cleanUps.map((cleanUp) => cleanUp()));
  }
}

export interface SharedAlbums {
  readonly albums: Albums;
  readonly urls: readonly string[];
  /** A key that no test of this site has used. */
  newKey(): bigint;
  /** The same federation as another process sees it; closed in the end. */
  another(options?: AlbumsOptions): Promise<Albums>;
}

/** Tests that share one federation on each site, and keep out of each other's way by their keys. */
export function onSites(
  title: string,
  sites: readonly MoveSite[],
  define: (site: MoveSite, shared: SharedAlbums) => void,
  options: AlbumsOptions = {},
): void {
  for (const site of sites) {
    describe.skipIf(whyNot(site) !== undefined)(`${title}, ${site.name}`, () => {
      let databases: SiteDatabases;
      const opened: Albums[] = [];
      let lastKey = 0n;
      beforeAll(async () => {
        databases = await SiteDatabases.of(site);
        opened.push(await openAlbums(databases.urls, options));
      });
      afterAll(async () => {
        await Promise.all(opened.map((albums) => albums[Symbol.asyncDispose]()));
        await databases?.[Symbol.asyncDispose]();
      });
      define(site, {
        get albums() {
          return opened[0] as Albums;
        },
        get urls() {
          return databases.urls;
        },
        newKey() {
          lastKey += 1n;
          return lastKey;
        },
        async another(others = {}) {
          const albums = await openAlbums(databases.urls, others);
          opened.push(albums);
          return albums;
        },
      });
    });
  }
}
