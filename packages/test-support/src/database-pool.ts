/**
 * Empty databases of one server, handed out and taken back. PostgreSQL copies some 300 files for a new database and flushes everything to drop
 * one (0.2 s each where files are slow), so that a used one is emptied and handed out again, which takes a tenth of that. MariaDB's are cheap (5 ms) and are dropped.
 */
import { databaseNameOf, queryAsAdmin, runAsAdmin } from "./administration.ts";
import { LEAVE_OUT_REFERENCES } from "./postgres.ts";
import type { DatabaseServer } from "./server.ts";

export class DatabasePool {
  readonly #server: DatabaseServer;
  readonly #free: string[] = [];

  constructor(server: DatabaseServer) {
    this.#server = server;
  }

  async take(): Promise<string> {
    return this.#free.pop() ?? (await this.#server.createDatabase());
  }

  async giveBack(url: string): Promise<void> {
    if (this.#server.engine === "mysql") return this.#server.dropDatabase(url);
    const name = databaseNameOf(url);
    try {
      await this.#empty(name);
      this.#free.push(url);
    } catch {
      // Whatever a test has made that does not go away: the database then goes as a whole.
      await this.#server.dropDatabase(name);
    }
  }

  async #empty(name: string): Promise<void> {
    const { user } = this.#server;
    const disconnect = `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}' and pid <> pg_backend_pid()`;
    // To drop what a role owns takes its rights on the server's parameters, too. Both are one transaction: other tests are using the right.
    await runAsAdmin(
      this.#server,
      [disconnect, `drop owned by "${user}" cascade; ${LEAVE_OUT_REFERENCES}`],
      name,
    );
    const schemas = await queryAsAdmin(
      this.#server,
      "select nspname as name from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'",
      name,
    );
    const drops = schemas.map((schema) => `drop schema "${schema.name}" cascade`);
    const publicSchema = "create schema public authorization pg_database_owner";
    await runAsAdmin(
      this.#server,
      [
        ...drops,
        publicSchema,
        "grant usage on schema public to public",
        `alter database "${name}" reset all`,
      ],
      name,
    );
  }
}
