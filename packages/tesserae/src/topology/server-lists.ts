/**
 * Shards from parallel lists, as Flamework configured them: hosts by shard id, database names by shard id, one login.
 */
import { TesseraeError } from "../base/errors.ts";

export interface ServerLists<T> {
  /** Hosts (`host` or `host:port`) by shard id. */
  readonly hosts: Readonly<Record<number, string>>;
  /** Database names by shard id, or one name for all. */
  readonly names: Readonly<Record<number, string>> | string;
  /** Makes the target of one shard: `({ host, name }) => mysql({ host, database: name, user, password })`. */
  readonly target: (server: { readonly id: number; readonly host: string; readonly name: string }) => T;
}

/**
 * The `shards` block from a list of hosts and a list of names. Raises CONFIG_LISTS_MISMATCH when an id is in one list alone.
 *
 * @example
 * ```ts
 * import { mysql, shardsFromLists } from "tesserae";
 *
 * const shards = shardsFromLists({
 *   hosts: { 1: "users-1.internal", 2: "users-2.internal" },
 *   names: { 1: "users", 2: "users" },
 *   target: ({ host, name }) => mysql({ host, database: name, user: "app", password: "secret" }),
 * });
 * ```
 */
export function shardsFromLists<T>(lists: ServerLists<T>): Record<number, T> {
  const { hosts, names } = lists;
  const ids = Object.keys(hosts);
  if (typeof names !== "string") {
    const lonely = [
      ...ids.filter((id) => !(id in names)),
      ...Object.keys(names).filter((id) => !(id in hosts)),
    ];
    if (lonely.length > 0) {
      throw new TesseraeError(
        "CONFIG_LISTS_MISMATCH",
        `The lists of hosts and names do not match: shard ${lonely.join(", ")} stands in one of them only. Give each shard a host and a name.`,
        { cluster: "shards" },
      );
    }
  }
  return Object.fromEntries(
    ids.map((id) => [
      id,
      lists.target({
        id: Number(id),
        host: hosts[Number(id)] as string,
        name: typeof names === "string" ? names : (names[Number(id)] as string),
      }),
    ]),
  );
}
