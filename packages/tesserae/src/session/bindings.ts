/** The four kinds of session: main, a replica of main, one key, and one key's shard without the filter. */
import type { RootOperationNode } from "kysely";
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import type { SchemaModel } from "../schema/model.ts";
import type { SessionBinding } from "./binding.ts";
import type { KeyLookups } from "./claims.ts";
import type { DialectKit } from "./dialect-kit.ts";
import type { KeyRoutes } from "./key-routes.ts";
import { isReadOnly, isReadOnlyRaw } from "./read-only.ts";
import type { RoutedTarget, Target } from "./target.ts";
import { checkMainQuery, filterForTenant, type TenantScope } from "./tenant-filter.ts";
import type { StatementRunner } from "./way.ts";
import type { WriteWait } from "./write-wait.ts";

/** Main, or what plays its replica. */
export class MainBinding implements SessionBinding {
  readonly origin: string;
  readonly tenant = undefined;
  readonly strict = false;
  readonly rerunsTransactions = false;
  readonly place: ErrorPlace;
  readonly kit: DialectKit;
  readonly #schema: SchemaModel;
  readonly #routed: RoutedTarget;
  readonly #readOnly: boolean;

  constructor(target: Target, schema: SchemaModel, cluster: "main" | "replicas") {
    this.origin = cluster;
    this.place = { cluster };
    this.kit = target.kit;
    this.#schema = schema;
    this.#routed = { target, epoch: 0n };
    this.#readOnly = cluster === "replicas";
  }

  check(node: RootOperationNode): RootOperationNode {
    if (this.#readOnly) refuseWrite(node, this.place, "fed.main");
    return checkMainQuery(node, this.#schema);
  }

  route(): RoutedTarget {
    return this.#routed;
  }

  holds(): boolean {
    return true;
  }

  async findMoved(): Promise<undefined> {
    return undefined;
  }

  async hasArrived(): Promise<boolean> {
    return true;
  }

  beginWait(): undefined {
    return undefined;
  }
}

/** What the sessions of one key have in common: their way. */
abstract class KeyBinding implements SessionBinding {
  abstract readonly origin: string;
  readonly kit: DialectKit;
  readonly #routes: KeyRoutes;

  constructor(routes: KeyRoutes) {
    this.#routes = routes;
    this.kit = routes.kit;
  }

  abstract check(node: RootOperationNode): RootOperationNode;

  get tenant(): string {
    return this.#routes.origin;
  }

  get place(): ErrorPlace {
    return this.#routes.place;
  }

  get strict(): boolean {
    return this.#routes.strict;
  }

  get rerunsTransactions(): boolean {
    return this.#routes.rerunsTransactions;
  }

  route(): RoutedTarget | Promise<RoutedTarget> {
    return this.#routes.route();
  }

  holds(target: RoutedTarget): boolean {
    return this.#routes.holds(target);
  }

  findMoved(routed: RoutedTarget, runner: StatementRunner): Promise<RoutedTarget | undefined> {
    return this.#routes.findMoved(routed, runner);
  }

  hasArrived(routed: RoutedTarget, runner: StatementRunner): Promise<boolean> {
    return this.#routes.hasArrived(routed, runner);
  }

  beginWait(signal?: AbortSignal): WriteWait {
    return this.#routes.beginWait(signal);
  }

  get lookups(): KeyLookups | undefined {
    return this.#routes.lookups;
  }
}

/** One key: every statement sees and touches only its rows, wherever they live. */
export class TenantBinding extends KeyBinding {
  readonly origin: string;
  readonly scope: TenantScope;
  readonly #readOnly: boolean;

  constructor(routes: KeyRoutes, scope: TenantScope, readOnly: boolean) {
    super(routes);
    this.scope = scope;
    this.#readOnly = readOnly;
    this.origin = routes.origin;
  }

  check(node: RootOperationNode): RootOperationNode {
    if (this.#readOnly) refuseWrite(node, this.place, "fed.at(key)");
    return filterForTenant(node, this.scope);
  }
}

/** The shard a key lives on, without the filter: raw statements pass, and other tenants' rows are in reach. */
export class UnfilteredBinding extends KeyBinding {
  readonly origin: string;
  readonly #readOnly: boolean;

  constructor(routes: KeyRoutes, readOnly: boolean) {
    super(routes);
    this.#readOnly = readOnly;
    this.origin = `${routes.origin}, unfiltered${readOnly ? ", read only" : ""}`;
  }

  /** A raw statement that begins as a read may be a write all the same: on a replica it runs in a transaction that is read only. */
  check(node: RootOperationNode): RootOperationNode {
    if (this.#readOnly && !isReadOnlyRaw(node)) refuseWrite(node, this.place, "fed.at(key).unfiltered()");
    if (!isReadOnly(node)) this.lookups?.refuseUnfiltered(node);
    return node;
  }
}

function refuseWrite(node: RootOperationNode, place: ErrorPlace, instead: string): void {
  if (!isReadOnly(node)) throw replicaReadOnly(place, instead);
}

export function replicaReadOnly(place: ErrorPlace, instead: string): TesseraeError {
  return new TesseraeError(
    "REPLICA_READ_ONLY",
    `A replica takes plain selects only. Send this statement to ${instead}.`,
    place,
  );
}
