/** One ticket server as a process sees it: its counters behind a deadline, what it has given to this process, and whether it is asked. */
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import type { Database, Engine, PoolOptions } from "../engine/contract.ts";
import { ControlStore } from "../engine/control-store.ts";
import { readOnlyError } from "../engine/failover-errors.ts";
import {
  COUNTERS_OF_NOBODY,
  type CounterPlace,
  type CounterState,
  CounterTable,
  type NoLease,
  parseCounterState,
  TICKETS_META,
} from "./counter-table.ts";
import { DeadlineDatabase } from "./deadline-database.ts";
import { ServerHealth } from "./server-health.ts";
import type { TicketBlock, TicketSequence } from "./ticket-source.ts";

/** The row of a ticket server's `tesserae_meta` that names it: `<id> of <installation>`. */
export const TICKET_SERVER_META = "tickets_server";

/** A statement of an operator's command may wait for those of leases. */
const COMMAND_TIMEOUT_MS = 10_000;
/** How often a lease is sent again to the same server, whose connections may all have been cut by a restart. */
const ATTEMPTS_MAX = 3;

export interface TicketServerOptions {
  readonly pool: PoolOptions;
  readonly connectionsMax: number;
  /** The deadline of a lease. */
  readonly timeoutMs: number;
  /** CONTROL_VERSION_NEWER when a newer library laid the server's tables out. */
  readonly checkVersion: (database: Database) => Promise<void>;
}

/** What a server says of itself. */
export interface ServerIdentity {
  readonly id: string;
  readonly installation: string;
  readonly state: CounterState;
}

export class TicketServer {
  readonly engine: Engine;
  /** The pool: for what has no deadline. */
  readonly database: Database;
  /** The counters as leases use them. */
  readonly counters: CounterTable;
  /** The counters as commands use them. */
  readonly commanded: CounterTable;
  readonly health = new ServerHealth();
  /** What it calls itself, once it has answered. */
  id: string | undefined;
  readonly #given: GivenIds;
  readonly #timeoutMs: number;
  readonly #sequenceHealth = new Map<string, ServerHealth>();
  #probing: Promise<void> | undefined;
  #life = 0;
  #connected = false;

  constructor(engine: Engine, { pool, connectionsMax, timeoutMs, checkVersion }: TicketServerOptions) {
    this.engine = engine;
    this.#timeoutMs = timeoutMs;
    // An upgrade of the control tables needs two.
    const max = Math.max(2, connectionsMax);
    this.database = engine.open({ ...pool, connectionsMax: max });
    const open = (deadlineMs: number) => {
      const limited = new DeadlineDatabase(this.database, {
        timeoutMs: deadlineMs,
        connectionsMax: max,
        acquireTimeoutMs: pool.acquireTimeoutMs,
      });
      const place = { cluster: "tickets", operation: "tickets" };
      return new CounterTable(
        new ControlStore(limited, place, () => checkVersion(limited)),
        COUNTERS_OF_NOBODY,
      );
    };
    this.counters = open(timeoutMs);
    this.commanded = open(COMMAND_TIMEOUT_MS);
    this.#given = new GivenIds(this.counters, this.address);
  }

  get address(): string {
    return this.engine.address.display;
  }

  /**
   * Rises whenever what answers now may not be what answered before: the server failed, a connection to it was lost, or all were closed. It may have been
   * restored meanwhile.
   */
  life(): number {
    const connected = this.database.stats.open > 0;
    if (this.#connected && !connected) this.#life += 1;
    this.#connected = connected;
    return this.#life;
  }

  /** It is left out for a while. */
  failed(error: Error): void {
    this.#life += 1;
    this.health.failed(error);
  }

  /** Of a sequence alone: the server serves the others. */
  healthOf(sequence: string): ServerHealth {
    let health = this.#sequenceHealth.get(sequence);
    if (health === undefined) {
      health = new ServerHealth();
      this.#sequenceHealth.set(sequence, health);
    }
    return health;
  }

  /** Undefined for a database that is no ticket server yet. SERVER_READ_ONLY for one that takes no writes. */
  async identify(counters: CounterTable = this.counters): Promise<ServerIdentity | undefined> {
    await this.#refuseReadOnly(counters);
    const rows = await counters.meta
      .read(counters.store, [TICKET_SERVER_META, TICKETS_META])
      .catch((error: unknown) => {
        if (isTesseraeError(error, "SCHEMA_NOT_APPLIED")) return new Map<string, string>();
        throw error;
      });
    const [id, installation] = (rows.get(TICKET_SERVER_META) ?? "").split(" of ");
    if (id === undefined || installation === undefined) return undefined;
    this.id = id;
    return { id, installation, state: parseCounterState(rows.get(TICKETS_META), COUNTERS_OF_NOBODY) };
  }

  /** The server says it itself: a login with enough rights would not hear of it when it writes, and write into a replica. */
  async #refuseReadOnly({ store }: CounterTable): Promise<void> {
    const sql = this.engine.dialect.replication?.statusSql;
    if (sql === undefined) return;
    const { rows } = await store.read(sql, []);
    if (Number(rows[0]?.["writable"]) !== 1) throw readOnlyError(this.address);
  }

  /** Leases, and refuses what cannot be: ids of another server, or ids that this server has given before. */
  async lease(sequence: TicketSequence, count: number, place: CounterPlace): Promise<TicketBlock | NoLease> {
    const floor = this.#given.of(sequence.name, place);
    try {
      const answer =
        (await this.counters.lease(sequence, count, place)) ??
        (await this.counters.leaseSlowly(sequence, count, place, true));
      if (typeof answer !== "string") await this.#given.note(sequence.name, answer, place, floor);
      this.#connected = true;
      return answer;
    } catch (error) {
      if (isTesseraeError(error, "CONNECTION_LOST")) this.#life += 1;
      throw error;
    }
  }

  /** Whether a lease that failed is sent again at once: after a restart every connection is dead, and the server is not. */
  maySendAgain(error: unknown, attempt: number, begun: number): boolean {
    const quick = performance.now() - begun < this.#timeoutMs / 2;
    return attempt < ATTEMPTS_MAX && quick && mayBeSentAgain(error);
  }

  /** Finds out, beside everything else, whether a server that was left out takes writes again. */
  probe(sequence: string): void {
    this.#probing ??= this.#refuseReadOnly(this.counters)
      .then(() => this.counters.probe(sequence))
      .then(
        () => this.health.answered(),
        (error: unknown) => this.failed(error as Error),
      )
      .finally(() => {
        this.#probing = undefined;
      });
  }

  async close(): Promise<void> {
    await this.#probing;
    await this.database.close();
  }
}

/** What a server has given to this process: its counter can only be beyond. */
export class GivenIds {
  readonly #counters: CounterTable;
  readonly #address: string;
  readonly #next = new Map<string, bigint>();
  #generation = -1;

  constructor(counters: CounterTable, address: string) {
    this.#counters = counters;
    this.#address = address;
  }

  /** What any lease that begins now must not be below. */
  of(sequence: string, { generation }: CounterPlace): bigint {
    if (generation !== this.#generation) {
      this.#next.clear();
      this.#generation = generation;
    }
    return this.#next.get(sequence) ?? 0n;
  }

  /** `floor`: what `of` said before the lease. Leases under way at the same time may end in any order, and prove nothing. */
  async note(sequence: string, block: TicketBlock, place: CounterPlace, floor: bigint): Promise<void> {
    if ((block.first - BigInt(place.offset)) % BigInt(place.step) !== 0n) {
      throw new TesseraeError(
        "TICKET_OFFSET",
        `${this.#address} gave the id ${block.first} of the ticket sequence "${sequence}", which is another server's: this one has the offset ${place.offset} in steps of ${place.step}. Somebody changed its counter. "tesserae tickets raise ${sequence}" puts it right.`,
        { cluster: "tickets", operation: "tickets.lease" },
      );
    }
    if (block.first < floor) {
      await this.#counters.stop(sequence, place, floor);
      throw new TesseraeError(
        "TICKET_COUNTER_BEHIND",
        `${this.#address} gave the id ${block.first} of the ticket sequence "${sequence}", and had given ${floor - block.step} before: the server was restored from an older state. Its counter is stopped. Raise it above every id that was ever given: "tesserae tickets raise ${sequence}", or fed.tickets.raise("${sequence}", { above }).`,
        { cluster: "tickets", operation: "tickets.lease" },
      );
    }
    const next = block.first + BigInt(block.count) * block.step;
    if (this.of(sequence, place) < next) this.#next.set(sequence, next);
  }
}

/** The one that an operator means: by its address, or by a part of it that no other has. */
export function serverNamed(servers: readonly TicketServer[], text: string, operation: string): TicketServer {
  const same = servers.filter(({ address, engine }) => [address, engine.address.identity].includes(text));
  const found = same.length > 0 ? same : servers.filter(({ address }) => address.includes(text));
  if (found.length === 1) return found[0] as TicketServer;
  throw new TesseraeError(
    "CONFIG_INVALID",
    `"${text}" names ${found.length === 0 ? "no" : "more than one"} ticket server. The configuration has: ${servers.map(({ address }) => address).join(", ")}.`,
    { cluster: "tickets", operation },
  );
}

function mayBeSentAgain(error: unknown): boolean {
  return (
    error instanceof TesseraeError &&
    ["CONNECTION_LOST", "DEADLOCK", "SERIALIZATION", "LOCK_TIMEOUT"].includes(error.code)
  );
}
