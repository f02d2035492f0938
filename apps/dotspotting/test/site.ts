import type { EngineName } from "@tesserae/test-support";
import { freshDatabases } from "@tesserae/test-support";
import type { OperatorNames } from "../src/accounts/operators.ts";
import { type Databases, type DotFederation, openFederation } from "../src/federation.ts";
import { startServer } from "../src/serve.ts";
import { createServices } from "../src/services.ts";
import type { Services } from "../src/web/environment.ts";

export const mebibyte = 1024 * 1024;

/** The application, answering on a port of its own. */
export interface Site {
  readonly address: string;
  readonly fed: DotFederation;
  readonly services: Services;
  /** What went wrong while answering. */
  readonly errors: unknown[];
  /** Waits until the replicas have what was written. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export interface SiteOptions {
  readonly uploadBytesMax?: number;
  readonly origin?: string;
  readonly operators?: OperatorNames;
  /** Two shards besides main on every engine, SQLite too. */
  readonly sharded?: boolean;
}

/** Starts the application on these databases. It is the same on all of them. */
export async function openSite(databases: Databases, options: SiteOptions = {}): Promise<Site> {
  const fed = await openFederation(databases);
  const errors: unknown[] = [];
  const settings = {
    origin: options.origin,
    uploadBytesMax: options.uploadBytesMax ?? 64 * mebibyte,
    secret: "a secret of at least thirty-two characters",
    operators: options.operators ?? [],
  };
  const services = createServices(fed, settings, (message, error) => errors.push({ message, error }));
  const server = await startServer(services, { port: 0, host: "127.0.0.1" });
  const close = async () => {
    await server.close(1_000);
    await services.moves.close();
    await fed.close();
  };
  const settle = async () => {};
  return { address: `http://127.0.0.1:${server.port}`, fed, services, errors, settle, close };
}

/**
 * Starts the application on fresh databases: on SQLite one that plays every cluster, on the servers main and two shards,
 * spread over two servers.
 */
export async function openFreshSite(engine: EngineName, options: SiteOptions = {}): Promise<Site> {
  const alone = engine === "sqlite" && options.sharded !== true;
  const databases = await freshDatabases(engine, alone ? 1 : 3, { servers: 2 });
  const [main, one, two] = databases.urls as [string, string, string];
  try {
    // Moves wait for the lease before they clear up.
    const directory = options.sharded === true ? { leaseMs: 200 } : {};
    const site = await openSite(alone ? { main } : { main, shards: { 1: one, 2: two }, directory }, options);
    const close = async () => {
      await site.close();
      await databases.cleanUp();
    };
    return { ...site, close };
  } catch (error) {
    await databases.cleanUp();
    throw error;
  }
}
