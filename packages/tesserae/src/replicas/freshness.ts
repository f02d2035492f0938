/** `fed.freshness`: a read on a replica sees what its context has written. */
import { TesseraeError } from "../base/errors.ts";
import { readToken, UNKNOWN_POSITION, writeToken } from "./freshness-token.ts";
import { WriteContext, type WriteContexts } from "./own-writes.ts";
import type { Primary, PrimaryName } from "./primary.ts";

export interface FreshnessOptions {
  /** What `token()` gave in another request, job or process: reads here see what was written there. */
  readonly token?: string | undefined;
}

export class Freshness {
  readonly #contexts: WriteContexts;
  readonly #primaries: ReadonlyMap<PrimaryName, Primary>;

  /** `primaries` are those with replicas, by name. */
  constructor(contexts: WriteContexts, primaries: ReadonlyMap<PrimaryName, Primary>) {
    this.#contexts = contexts;
    this.#primaries = primaries;
  }

  /**
   * Runs `body` as a context of its own, such as a web request or a job: its reads on replicas see its own writes, and wait for nobody else's. Outside of any, the
   * process is one context. FRESHNESS_TOKEN_INVALID where the token is none; a token that knows nothing of this federation's databases is no harm.
   *
   * @example
   * ```ts
   * const token = await fed.freshness.run(async () => {
   *   await fed.at(12n).updateTable("sheets").set({ label: "Piers" }).execute();
   *   return fed.freshness.token();
   * });
   * await fed.freshness.run(() => fed.at(12n).replica.selectFrom("sheets").select("label").execute(), { token });
   * ```
   */
  run<T>(body: () => T, options: FreshnessOptions = {}): T {
    refuseUnknown(options);
    const context = new WriteContext();
    if (options.token !== undefined)
      for (const [name, position] of readToken(options.token)) {
        const primary = this.#primaries.get(name as PrimaryName);
        if (primary === undefined) continue;
        if (position === UNKNOWN_POSITION) context.of(primary).note();
        else context.of(primary).carry(position);
      }
    return this.#contexts.run(context, body);
  }

  /**
   * What this context has written, and what it was given a token of, as short text for the next request or job; undefined where that is nothing. What is written in a
   * transaction that is still open is not in it: await the commit first. Never rejects: where a primary does not tell its position now, because it is down or being changed,
   * the token says so, and whoever reads with it asks then.
   */
  async token(): Promise<string | undefined> {
    const positions = new Map<PrimaryName, string>();
    for (const [primary, writes] of this.#contexts.current.written) {
      const isKnown =
        !writes.isUnasked ||
        (await writes.ask().then(
          () => true,
          () => false,
        ));
      if (!isKnown) positions.set(primary.name, UNKNOWN_POSITION);
      else if (writes.wish !== undefined) positions.set(primary.name, writes.wish.position);
    }
    return positions.size === 0 ? undefined : writeToken(positions);
  }
}

function refuseUnknown(options: object): void {
  const unknown = Object.keys(options).find((name) => name !== "token");
  if (unknown === undefined) return;
  throw new TesseraeError("VALUE_INVALID", `freshness.run has no option "${unknown}". Known: token.`, {
    operation: "freshness.run",
  });
}
