/** Federations with ticket servers on fresh databases: main first, then the ticket servers. */
import type { FreshDatabases, TestEngine } from "@tesserae/test-support";
import type { FederationConfig, TicketingOptions } from "../../src/configuration.ts";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { type Federation, federate } from "../../src/federation.ts";
import { bigint, int, text } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import { federated, global } from "../../src/schema/table.ts";
import { TICKET_INTERNALS, type TicketInternals } from "../../src/tickets/ticket-points.ts";
import { engineAt } from "../engine/open-database.ts";

export const placesSchema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: bigint().ticket(), name: text(40) }),
    sheets: federated("user_id", { id: int().ticket(), user_id: bigint() }),
    dots: federated("user_id", { id: bigint().ticket(), user_id: bigint() }),
  },
});

export type PlacesConfig = FederationConfig<typeof placesSchema>;
export type Places = Federation<typeof placesSchema>;

export interface PlacesOptions {
  readonly ticketing?: TicketingOptions;
  readonly internals?: TicketInternals;
}

/** A configuration; no ticket servers: main gives the ids. */
export function placesConfig(
  main: string,
  tickets: readonly string[],
  { ticketing = {}, internals }: PlacesOptions = {},
): PlacesConfig {
  return {
    schema: placesSchema,
    main,
    ...(tickets.length === 0 ? {} : { tickets }),
    ticketing,
    ...(internals === undefined ? {} : { [TICKET_INTERNALS]: internals }),
  };
}

/** A test's databases, and every federation that it opened on them. */
export class TicketSite implements AsyncDisposable {
  readonly main: string;
  readonly tickets: readonly string[];
  readonly #fresh: FreshDatabases | undefined;
  readonly #opened: Places[] = [];

  constructor(urls: readonly string[], fresh?: FreshDatabases) {
    [this.main, ...this.tickets] = urls as [string, ...string[]];
    this.#fresh = fresh;
  }

  static async of(engine: TestEngine, servers: number): Promise<TicketSite> {
    const fresh = await engine.databases(servers + 1, { servers: 2 });
    return new TicketSite(fresh.urls, fresh);
  }

  /** A process of its own, as far as tickets go. */
  async open(tickets: readonly string[], options: PlacesOptions = {}): Promise<Places> {
    const places = await federate(placesConfig(this.main, tickets, options));
    this.#opened.push(places);
    return places;
  }

  /** One statement on a database, by its URL: what an operator does by hand. */
  async run(url: string, sql: string, parameters: readonly unknown[] = []) {
    const engine = await engineAt(url);
    const isControl = url === this.main;
    const database = (isControl ? engine.control() : engine).open({ ...POOL_DEFAULTS, connectionsMax: 1 });
    try {
      return await database.run({ sql: engine.dialect.placeholders(sql), parameters });
    } finally {
      await database.close();
    }
  }

  /** What a database says of tickets now, to be brought back by the function that it gives: a server, or main, that is restored from a backup. */
  async backup(url: string): Promise<() => Promise<void>> {
    const said = "name in ('tickets', 'tickets_set')";
    const meta = await this.run(url, `select name, value from tesserae_meta where ${said}`);
    const counters = await this.run(url, "select * from tesserae_tickets");
    return async () => {
      await this.run(url, `delete from tesserae_meta where ${said}`);
      await this.run(url, "delete from tesserae_tickets");
      for (const [table, rows] of [
        ["tesserae_meta", meta.rows],
        ["tesserae_tickets", counters.rows],
      ] as const)
        for (const row of rows) {
          const names = Object.keys(row);
          const values = names.map(() => "?").join(", ");
          await this.run(
            url,
            `insert into ${table} (${names.join(", ")}) values (${values})`,
            Object.values(row),
          );
        }
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#opened.map((places) => places.close()));
    await this.#fresh?.cleanUp();
  }
}

/** The remainders that ids leave. */
export function remainders(ids: readonly bigint[], step: number): number[] {
  return [...new Set(ids.map((id) => Number(id % BigInt(step))))].toSorted((a, b) => a - b);
}

export function hasDuplicates(ids: readonly bigint[]): boolean {
  return new Set(ids).size !== ids.length;
}
