/** An engine whose statements a test sees, waits for, and may let fail: named points instead of sleeps. */
import type { Connection, Database, Engine, Statement } from "../../src/engine/contract.ts";

export interface Sent {
  /** `main`, `control`, `shard 1`, … */
  readonly database: string;
  readonly sql: string;
}

type Matcher = (sent: Sent) => boolean;

/** A statement on a database whose text matches. */
export const sentTo =
  (database: string, text: RegExp): Matcher =>
  (sent) =>
    sent.database === database && text.test(sent.sql);

export class Observer {
  #sent: Sent[] = [];
  readonly #waiting: { matches: Matcher; left: number; resolve: () => void }[] = [];
  readonly #hooks: { matches: Matcher; when: "before" | "after"; act: () => void | Promise<void> }[] = [];

  /** How many statements matched since the beginning, or since `forget`. */
  count(matches: Matcher): number {
    return this.#sent.filter(matches).length;
  }

  forget(): void {
    this.#sent = [];
  }

  /** Resolves when `times` more such statements have been sent. */
  reached(matches: Matcher, times = 1): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ matches, left: times, resolve }));
  }

  /** Runs `act` once, before such a statement is sent or after its result has come. What it throws, the statement's caller gets. */
  once(when: "before" | "after", matches: Matcher, act: () => void | Promise<void>): void {
    this.#hooks.push({ matches, when, act });
  }

  /** Runs `act` each time, until the function that it gives back is called. */
  always(matches: Matcher, act: () => void): () => void {
    let on = true;
    const again = () => {
      if (!on) return;
      this.once("before", matches, again);
      act();
    };
    this.once("before", matches, again);
    return () => {
      on = false;
    };
  }

  async around<T>(sent: Sent, run: () => Promise<T>): Promise<T> {
    this.#sent.push(sent);
    for (const waiter of this.#waiting.filter(({ matches }) => matches(sent))) {
      if (--waiter.left > 0) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      waiter.resolve();
    }
    await this.#act("before", sent);
    const result = await run();
    await this.#act("after", sent);
    return result;
  }

  async #act(when: "before" | "after", sent: Sent): Promise<void> {
    const hook = this.#hooks.find((candidate) => candidate.when === when && candidate.matches(sent));
    if (hook === undefined) return;
    this.#hooks.splice(this.#hooks.indexOf(hook), 1);
    await hook.act();
  }
}

export function observedEngine(engine: Engine, name: string, observer: Observer): Engine {
  const { dialect, address } = engine;
  return {
    name: engine.name,
    dialect,
    address,
    control: () => observedEngine(engine.control(), "control", observer),
    open: (options, failover) => observedDatabase(engine.open(options, failover), name, observer),
  };
}

function observedDatabase(database: Database, name: string, observer: Observer): Database {
  return {
    engine: database.engine,
    run: (statement) =>
      observer.around({ database: name, sql: statement.sql }, () => database.run(statement)),
    acquire: async (options) => observedConnection(await database.acquire(options), name, observer),
    close: (timeoutMs) => database.close(timeoutMs),
    get stats() {
      return database.stats;
    },
  };
}

function observedConnection(connection: Connection, name: string, observer: Observer): Connection {
  const step = (sql: string, run: () => Promise<void>) => observer.around({ database: name, sql }, run);
  return new Proxy(connection, {
    get(target, property) {
      switch (property) {
        case "run":
          return (statement: Statement) =>
            observer.around({ database: name, sql: statement.sql }, () => target.run(statement));
        case "commit":
          return () => step("commit", () => target.commit());
        case "rollback":
          return () => step("rollback", () => target.rollback());
        default: {
          const value: unknown = Reflect.get(target, property, target);
          return typeof value === "function" ? value.bind(target) : value;
        }
      }
    },
  });
}
