/** What a private server is, whichever engine it runs, and what may be asked of it when it starts. */

export type ServerEngine = "mysql" | "postgres";

export interface ServerOptions {
  /**
   * `shipped` (the default) leaves the engine's own durability: every commit is flushed. `relaxed` flushes about once a second;
   * it is for benches that say so and for set-up that is thrown away.
   */
  readonly durability?: "shipped" | "relaxed";
  /** Connections the server accepts. 400 unless said. */
  readonly maxConnections?: number;
  /** Encrypted connections are possible (and not required); the server has a certificate of its own. */
  readonly tls?: boolean;
  /** Further settings by the engine's own names, such as `{ "log-bin": "on" }` or `{ wal_level: "logical" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Enough to reach a running server. Plain data, so that it can cross from one process to another. */
export interface ServerAddress {
  readonly engine: ServerEngine;
  readonly host: string;
  readonly port: number;
  /** The user an application would have: it may create databases, and is no superuser. */
  readonly user: string;
  readonly password: string;
  readonly adminUser: string;
  readonly adminPassword: string;
}

/** A server that can be asked for databases. */
export interface DatabaseServer extends ServerAddress {
  /** The application user's URL of a database. */
  url(database: string): string;
  /** The superuser's URL of a database; of the engine's own one unless said. */
  adminUrl(database?: string): string;
  /** Creates an empty database, under a fresh name unless one is given, and returns its URL. */
  createDatabase(name?: string): Promise<string>;
  /** Drops a database by its name or URL, whoever is still connected. */
  dropDatabase(nameOrUrl: string): Promise<void>;
}

/** A server of our own, in a folder of its own. It dies with this process, and the folder with it. */
export interface PrivateServer extends DatabaseServer {
  /** The server's process; another one after `restart`. */
  readonly pid: number;
  readonly folder: string;
  /** With `tls`: the certificate (PEM) to trust. */
  readonly certificate: string | undefined;
  /** Ends the server at once, as a power cut would. The data stay: `restart` recovers them. */
  kill(): Promise<void>;
  /** Freezes every process of the server (SIGSTOP): connections stay open and get no answer. */
  pause(): void;
  resume(): void;
  /** Starts the server again on the same port with the same data; stops it in an orderly way first if it runs. */
  restart(): Promise<void>;
  /** Ends the server and removes its folder. May be called twice. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The application's password has characters that an URL must escape, so that whoever forgets to is found out. */
export const APPLICATION = { user: "tesserae", password: "s3cret:p@ss/word" } as const;
export const ADMIN_PASSWORD = "adm1n-p@ssword";
