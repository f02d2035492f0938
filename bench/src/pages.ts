/** Pages on a primary and two replicas, federations that know none, one and both of them, the bare driver beside, and who reads and writes. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ReplicatedServers, ServerEngine } from "@tesserae/test-support";
import type { CompiledQuery } from "kysely";
import {
  bigint,
  defineSchema,
  type Federation,
  type FederationConfig,
  federate,
  federated,
  global,
  int,
  text,
} from "tesserae";
import { type Bare, openBare, POOL_SIZE } from "./bare.ts";
import type { BenchContext } from "./harness.ts";

export const pagesSchema = defineSchema({
  key: bigint(),
  tables: {
    pages: global({ id: bigint(), version: int(), body: text(200) }),
    notes: federated("user_id", { id: bigint(), user_id: bigint(), version: int(), body: text(200) }),
  },
});

/** Rows of either table that are read; notes have as many users. */
export const ROWS = 200;
/** What another writer changes is behind these. */
export const OTHER_ROWS = 50;

export const OTHER_WRITES_PER_SECOND = 100;

export type PagesFederation = Federation<typeof pagesSchema>;
export type MainSession = PagesFederation["main"];

/** Gives the page's version; undefined where there is no such page. */
export type ReadPage = (id: number) => Promise<number | undefined>;

export interface PagesBench {
  readonly engine: ServerEngine;
  readonly servers: ReplicatedServers;
  /** The primary by the bare driver. */
  readonly bare: Bare;
  readonly bareReplicas: readonly Bare[];
  /** By the number of replicas in their configuration. */
  readonly feds: readonly [PagesFederation, PagesFederation, PagesFederation];
  /** One replica, and `freshness: "none"`. */
  readonly heedless: PagesFederation;
  /** How often each page was changed: what a reader must see at least. */
  readonly versions: number[];
}

export async function openPages(context: BenchContext, engine: ServerEngine): Promise<PagesBench> {
  const servers = await context.replicated(engine, 2);
  const { urls } = await servers.freshDatabase();
  const [main, ...replicas] = urls as [string, ...string[]];
  const open = async (options: Partial<FederationConfig<typeof pagesSchema>>) => {
    const fed = await federate({
      schema: pagesSchema,
      main,
      pool: { connectionsMax: POOL_SIZE },
      ...options,
    });
    context.onEnd(() => fed.close());
    return fed;
  };
  const none = await open({});
  await none.schema.apply();
  await fill(none);
  await servers.waitUntilCaughtUp();
  const [bare, ...bareReplicas] = urls.map((url) => openBare(engine, url)) as [Bare, ...Bare[]];
  for (const each of [bare, ...bareReplicas]) context.onEnd(() => each.close());
  return {
    engine,
    servers,
    bare,
    bareReplicas,
    feds: [none, await open({ replicas: replicas.slice(0, 1) }), await open({ replicas })],
    heedless: await open({ replicas: replicas.slice(0, 1), replication: { freshness: "none" } }),
    versions: new Array<number>(ROWS).fill(0),
  };
}

async function fill(fed: PagesFederation): Promise<void> {
  const rowsOf = (count: number) =>
    Array.from({ length: count }, (_, id) => ({
      id: BigInt(id),
      version: 0,
      body: `${"x".repeat(80)} ${id}`,
    }));
  await fed.main
    .insertInto("pages")
    .values(rowsOf(ROWS + OTHER_ROWS))
    .execute();
  for (const row of rowsOf(ROWS)) {
    await fed.tenants.add(row.id);
    await fed.at(row.id).insertInto("notes").values(row).execute();
  }
}

/** The reads of all rows, compiled once: building them is Kysely's part, and the same for every server. */
function compileReads(session: MainSession): CompiledQuery<{ version: number }>[] {
  return Array.from({ length: ROWS }, (_, id) =>
    session.selectFrom("pages").select(["id", "version", "body"]).where("id", "=", BigInt(id)).compile(),
  );
}

export function readerOf(session: MainSession): ReadPage {
  const queries = compileReads(session);
  return async (id) => {
    const { rows } = await session.executeQuery(queries[id] as CompiledQuery<{ version: number }>);
    return rows[0]?.version;
  };
}

export function bareReader(bare: Bare): ReadPage {
  const read = bare.prepare("read_page", "select id, version, body from pages where id = ?");
  return async (id) => ((await read([id])) as { version: number }[])[0]?.version;
}

/** Changes a page, and keeps count. */
export function writerOf(main: MainSession, versions: number[]): (id: number) => Promise<void> {
  const queries = Array.from({ length: ROWS }, (_, id) =>
    main
      .updateTable("pages")
      .set((eb) => ({ version: eb("version", "+", 1) }))
      .where("id", "=", BigInt(id))
      .compile(),
  );
  return async (id) => {
    await main.executeQuery(queries[id] as CompiledQuery);
    versions[id] = (versions[id] as number) + 1;
  };
}

/** Another writer, at its own pace, on the bare driver and rows that nobody reads. */
export function writeBeside(bare: Bare): { stop(): Promise<void> } {
  const write = bare.prepare("change_page", "update pages set version = version + 1 where id = ?");
  const begun = performance.now();
  let stopped = false;
  const run = async () => {
    for (let n = 0; !stopped; n += 1) {
      await write([ROWS + (n % OTHER_ROWS)]);
      const due = begun + ((n + 1) * 1000) / OTHER_WRITES_PER_SECOND - performance.now();
      if (due > 0) await sleep(due);
    }
  };
  const ended = run();
  return {
    async stop() {
      stopped = true;
      await ended;
    },
  };
}
