/** The four kinds of session: main, a replica of main, one key, and one key's shard without the filter. */
import type { RootOperationNode } from "kysely";
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import type { SchemaModel } from "../schema/model.ts";
import type { SessionBinding } from "./binding.ts";
import type { DialectKit } from "./dialect-kit.ts";
import type { KeyRoutes } from "./key-routes.ts";
import type { RoutedTarget, Target } from "./target.ts";
import { checkMainQuery, filterForTenant, isReadOnly, type TenantScope } from "./tenant-filter.ts";

/** Main, or what plays its replica. */
export class MainBinding implements SessionBinding {
  readonly origin: string;
  readonly tenant = undefined;
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

  async reroute(): Promise<undefined> {
    return undefined;
  }

  holds(): boolean {
    return true;
  }
}

/** One key: every statement sees and touches only its rows, wherever they live. */
export class TenantBinding implements SessionBinding {
  readonly origin: string;
  readonly kit: DialectKit;
  readonly scope: TenantScope;
  readonly #routes: KeyRoutes;
  readonly #readOnly: boolean;

  constructor(routes: KeyRoutes, scope: TenantScope, readOnly: boolean) {
    this.scope = scope;
    this.#routes = routes;
    this.#readOnly = readOnly;
    this.origin = routes.origin;
    this.kit = routes.kit;
  }

  get tenant(): string {
    return this.#routes.origin;
  }

  get place(): ErrorPlace {
    return this.#routes.place;
  }

  check(node: RootOperationNode): RootOperationNode {
    if (this.#readOnly) refuseWrite(node, this.place, "fed.at(key)");
    return filterForTenant(node, this.scope);
  }

  route(): RoutedTarget | Promise<RoutedTarget> {
    return this.#routes.route();
  }

  reroute(refused: RoutedTarget): Promise<RoutedTarget | undefined> {
    return this.#routes.reroute(refused);
  }

  holds(target: RoutedTarget): boolean {
    return this.#routes.holds(target);
  }
}

/** The shard a key lives on, without the filter: raw statements pass, and other tenants' rows are in reach. */
export class UnfilteredBinding implements SessionBinding {
  readonly origin: string;
  readonly kit: DialectKit;
  readonly #routes: KeyRoutes;

  constructor(routes: KeyRoutes) {
    this.#routes = routes;
    this.origin = `${routes.origin}, unfiltered`;
    this.kit = routes.kit;
  }

  get tenant(): string {
    return this.#routes.origin;
  }

  get place(): ErrorPlace {
    return this.#routes.place;
  }

  check(node: RootOperationNode): RootOperationNode {
    return node;
  }

  route(): RoutedTarget | Promise<RoutedTarget> {
    return this.#routes.route();
  }

  reroute(refused: RoutedTarget): Promise<RoutedTarget | undefined> {
    return this.#routes.reroute(refused);
  }

  holds(target: RoutedTarget): boolean {
    return this.#routes.holds(target);
  }
}

function refuseWrite(node: RootOperationNode, place: ErrorPlace, instead: string): void {
  if (isReadOnly(node)) return;
  throw new TesseraeError(
    "REPLICA_READ_ONLY",
    `A replica takes plain selects only. Send this statement to ${instead}.`,
    place,
  );
}
