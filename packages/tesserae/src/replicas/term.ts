/**
 * One server of a set of replicas from its coming up to its going down. Whatever is known of it, is known for a term: the pool, how far it has applied the
 * primary's log, whose keys it has. Applying goes forward only, so that this stays true until the server is restarted, restored or replaced, and whoever comes
 * back begins a new term.
 */
import { LruMap } from "../base/lru.ts";
import type { Database } from "../engine/contract.ts";

/** Keys whose arrival on the server is remembered. */
const KEYS_MAX = 100_000;

export class Term {
  readonly database: Database;
  /** The newest position that is known to be applied. */
  position: string;
  /** How much of that the primary has too, by what it said after it was known. Only this grants wishes: a position that has parted from the primary's may be higher. */
  vouched: string | undefined;
  /** Which keys at which epoch have arrived, by the name that their readers give them. */
  readonly arrived = new LruMap<string, true>(KEYS_MAX);
  #inFlight = 0;
  #ended = false;
  readonly #underWay = new Set<(error: unknown) => void>();

  constructor(database: Database, position: string) {
    this.database = database;
    this.position = position;
  }

  /** Nothing new is begun here. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Reads and held connections. */
  get inFlight(): number {
    return this.#inFlight;
  }

  set inFlight(count: number) {
    this.#inFlight = count;
    if (this.#ended && count === 0) this.#leave();
  }

  /** The result of `work`, unless the term is cut off before. */
  watch<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#underWay.add(reject);
      work.then(
        (result) => {
          this.#underWay.delete(reject);
          resolve(result);
        },
        (error: unknown) => {
          this.#underWay.delete(reject);
          reject(error);
        },
      );
    });
  }

  /** What is under way may end, unless the server hangs, at once or later: then it is given up with `error`. */
  end(error: unknown, hangs: boolean): void {
    this.#ended = true;
    if (hangs) for (const reject of [...this.#underWay]) reject(error);
    if (hangs || this.#inFlight === 0) this.#leave(hangs ? 0 : undefined);
  }

  /** Only the pool's first close counts, so it is left when nothing is under way any more, or nothing shall be. */
  #leave(timeoutMs?: number): void {
    void this.database.close(timeoutMs).catch(() => undefined);
  }

  /** At the end of the federation: what is under way is waited for. */
  async close(timeoutMs?: number): Promise<void> {
    this.#ended = true;
    await this.database.close(timeoutMs);
  }
}
