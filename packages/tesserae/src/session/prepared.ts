/**
 * Prepared queries: built, filtered and compiled once for each engine; key and parameters are bound at each call. A parameter stands in the
 * tree as an expression, not as a value, so that nothing in the building can branch on it.
 */
import {
  type CompiledQuery,
  DeleteResult,
  type Expression,
  ExpressionWrapper,
  InsertResult,
  type Kysely,
  type QueryResult,
  type RootOperationNode,
  UpdateResult,
  ValueNode,
} from "kysely";
import { type ErrorPlace, isTesseraeError, TesseraeError } from "../base/errors.ts";
import type { Codec } from "../engine/contract.ts";
import type { Column } from "../schema/column.ts";
import type { KeyValue, LogicalType } from "../schema/logical-type.ts";
import type { SessionBinding } from "./binding.ts";
import { replicaReadOnly } from "./bindings.ts";
import type { DialectKit } from "./dialect-kit.ts";
import { type FederationRoutes, KeyRoutes } from "./key-routes.ts";
import { joinTransaction, openTransaction } from "./open-transaction.ts";
import { ReplicaRoutes } from "./replica-routes.ts";
import type { RoutedQuery } from "./routed-query.ts";
import { type Bound, runRouted } from "./run-routed.ts";
import { openSession } from "./sessions.ts";
import type { StatementPlan } from "./statement-plan.ts";
import type { RoutedTarget, Target } from "./target.ts";
import { filterForTenant, type TenantScope } from "./tenant-filter.ts";

// biome-ignore lint/suspicious/noExplicitAny: a column of any value.
export type PreparedParameters = Readonly<Record<string, Column<any, boolean, boolean, boolean>>>;

type ValueOf<C> =
  C extends Column<infer V, infer N, boolean, boolean> ? (N extends true ? V | null : V) : never;
export type PreparedValues<P extends PreparedParameters> = { readonly [K in keyof P]: ValueOf<P[K]> };
export type PreparedExpressions<P extends PreparedParameters> = {
  readonly [K in keyof P]: Expression<ValueOf<P[K]>>;
};

/** None where the query has no parameters. */
export type GivenValues<P extends PreparedParameters> = keyof P extends never ? [] : [PreparedValues<P>];

/** A prepared query on replicas. */
export interface PreparedReads<P extends PreparedParameters, O> {
  at(key: KeyValue, ...values: GivenValues<P>): Promise<O[]>;
  /** The first row, or undefined. */
  first(key: KeyValue, ...values: GivenValues<P>): Promise<O | undefined>;
}

/** What `build` gives back: any Kysely builder. */
export interface Buildable<O> {
  compile(): CompiledQuery<O>;
}

class KeyPlaceholder {}
const KEY = new KeyPlaceholder();

class ParameterPlaceholder {
  readonly name: string;
  readonly type: LogicalType;
  readonly nullable: boolean;

  constructor(name: string, type: LogicalType, nullable: boolean) {
    this.name = name;
    this.type = type;
    this.nullable = nullable;
  }
}

/** One place of the statement's parameters: the key, a named parameter, or a constant. */
type Slot =
  | { readonly kind: "key"; readonly codec: Codec }
  | { readonly kind: "parameter"; readonly name: string; readonly codec: Codec; readonly nullable: boolean }
  | { readonly kind: "constant"; readonly value: unknown };

interface Compiled {
  readonly sql: string;
  readonly query: RootOperationNode;
  readonly plan: StatementPlan;
  readonly slots: readonly Slot[];
}

export interface PreparedContext {
  readonly routes: FederationRoutes;
  readonly keyType: LogicalType;
  /** The scope of a query for a key that is a placeholder. */
  scopeOf(key: unknown): TenantScope;
  /** The key in its canonical form; KEY_NULL or KEY_TYPE. */
  checkKey(key: unknown): KeyValue;
}

/**
 * A query that was built once.
 *
 * @example
 * ```ts
 * import { timestamp } from "tesserae";
 *
 * const newest = fed.prepare({ since: timestamp() }, (db, p) =>
 *   db.selectFrom("dots").select(["id", "lat", "lon"]).where("created", ">", p.since),
 * );
 * const dots = await newest.at(12n, { since: new Date("2026-01-01") });
 * ```
 */
export class PreparedQuery<P extends PreparedParameters, O> {
  readonly #context: PreparedContext;
  readonly #build: (kit: DialectKit) => RoutedQuery;
  readonly #compiled = new Map<DialectKit, Compiled>();

  constructor(
    context: PreparedContext,
    parameters: P,
    // biome-ignore lint/suspicious/noExplicitAny: the caller typed the builder's database.
    build: (db: Kysely<any>, expressions: PreparedExpressions<P>) => Buildable<O>,
  ) {
    this.#context = context;
    const expressions = Object.fromEntries(
      Object.entries(parameters).map(([name, column]) => [
        name,
        new ExpressionWrapper(
          ValueNode.create(new ParameterPlaceholder(name, column.spec.type, column.spec.nullable)),
        ),
      ]),
    ) as unknown as PreparedExpressions<P>;
    this.#build = (kit) => {
      const built: unknown = build(openSession(new BuildingBinding(kit, context)), expressions);
      if (typeof built === "object" && built !== null && "compile" in built)
        return (built as Buildable<O>).compile() as unknown as RoutedQuery;
      // A promise of the refused execution: what it says is said below.
      if (built instanceof Promise) built.catch(() => {});
      throw runsNothing({ federation: context.routes.federation, operation: "prepare" });
    };
    // Built now for the engine of the first shard, so that a mistake shows where the query is prepared and not at its first call.
    this.#for(context.routes.kit);
  }

  /** Runs the query for one key and gives what `execute()` would: the rows, or one result with the counts. */
  async at(key: KeyValue, ...values: GivenValues<P>): Promise<O[]> {
    const canonical = this.#context.checkKey(key);
    return this.#run(new KeyRoutes(this.#context.routes, canonical), canonical, values[0]);
  }

  /** The first row, or undefined. */
  async first(key: KeyValue, ...values: GivenValues<P>): Promise<O | undefined> {
    return (await this.at(key, ...values))[0];
  }

  /** The same query on the replicas of the key's shard, as `fed.at(key).replica` reads from them. REPLICA_READ_ONLY for anything but a plain select. */
  get replica(): PreparedReads<P, O> {
    const { routes } = this.#context;
    const at = async (key: KeyValue, ...values: GivenValues<P>): Promise<O[]> => {
      const canonical = this.#context.checkKey(key);
      const way = new ReplicaRoutes(routes, canonical);
      if (!this.#for(routes.kit).plan.readOnly)
        throw replicaReadOnly(way.place, "the prepared query's own at(key)");
      return this.#run(way, canonical, values[0]);
    };
    return { at, first: async (...call) => (await at(...call))[0] };
  }

  async #run(way: KeyRoutes, canonical: KeyValue, given: Record<string, unknown> | undefined): Promise<O[]> {
    const first = way.route();
    const routed = first instanceof Promise ? await first : first;
    const open = openTransaction();
    const bind = (target: Target): Bound => this.#bind(target, canonical, given, way);
    let result: QueryResult<never>;
    if (open === undefined) {
      result = await runRouted(way, routed, bind);
    } else {
      const traveller = { tenant: way.tenant, way, routed };
      result = await (await joinTransaction(open, traveller)).runBound(traveller, bind(open.target));
    }
    return asExecuted<O>(result, this.#for(routed.target.kit).query);
  }

  #bind(target: Target, key: KeyValue, values: Record<string, unknown> | undefined, way: KeyRoutes): Bound {
    const { sql, slots, plan, query } = this.#for(target.kit);
    const parameters = new Array<unknown>(slots.length);
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i] as Slot;
      if (slot.kind === "key") parameters[i] = slot.codec.encode(key);
      else if (slot.kind === "constant") parameters[i] = slot.value;
      else parameters[i] = encodeParameter(slot, values?.[slot.name], way);
    }
    const { readOnly, mayWrite } = plan;
    const statement = { sql, parameters, readOnly, mayWrite };
    if (!plan.writesLookups) return { statement, plan };
    const resolve = (value: unknown) =>
      value instanceof ParameterPlaceholder ? values?.[value.name] : value;
    return { statement, plan, claims: way.lookups?.claimsOf(query, resolve) };
  }

  #for(kit: DialectKit): Compiled {
    const known = this.#compiled.get(kit);
    if (known !== undefined) return known;
    const { sql, query, parameters, plan } = this.#build(kit).plannedFor(kit);
    const slots = parameters.map((value, index): Slot => {
      if (value === KEY) return { kind: "key", codec: kit.dialect.codec(this.#context.keyType) };
      if (!(value instanceof ParameterPlaceholder))
        return { kind: "constant", value: plan.encode(index, value) };
      // The column it is compared with decides how it is stored; the declared type serves where the tree does not tell.
      return {
        kind: "parameter",
        name: value.name,
        codec: kit.dialect.codec(plan.parameterType(index) ?? value.type),
        nullable: value.nullable,
      };
    });
    const compiled = { sql, query, plan, slots };
    this.#compiled.set(kit, compiled);
    return compiled;
  }
}

function encodeParameter(
  slot: Slot & { kind: "parameter" },
  value: unknown,
  way: { readonly place: ErrorPlace },
): unknown {
  if (value !== null && value !== undefined) {
    try {
      return slot.codec.encode(value);
    } catch (error) {
      if (!isTesseraeError(error, "VALUE_INVALID")) throw error;
      throw new TesseraeError(
        "VALUE_INVALID",
        `Parameter "${slot.name}" of the prepared query: ${error.message}`,
        way.place,
      );
    }
  }
  if (value === null && slot.nullable) return null;
  throw new TesseraeError(
    "PARAMETER_MISSING",
    `The prepared query needs a value for "${slot.name}"; it was ${value === null ? "null: declare it .nullable() to allow that" : "left out"}.`,
    way.place,
  );
}

function asExecuted<O>(result: QueryResult<never>, query: RootOperationNode): O[] {
  const affected = result.numAffectedRows ?? 0n;
  if (query.kind === "InsertQueryNode" && query.returning === undefined)
    return [new InsertResult(result.insertId, affected) as O];
  if (query.kind === "UpdateQueryNode" && query.returning === undefined)
    return [new UpdateResult(affected, undefined) as O];
  if (query.kind === "DeleteQueryNode" && query.returning === undefined)
    return [new DeleteResult(affected) as O];
  return result.rows;
}

/** Compiles with the key's placeholder in the filter; nothing can run here. */
class BuildingBinding implements SessionBinding {
  readonly origin = "a prepared query";
  readonly tenant = undefined;
  readonly strict = false;
  readonly rerunsTransactions = false;
  readonly place: ErrorPlace;
  readonly kit: DialectKit;
  readonly #context: PreparedContext;

  constructor(kit: DialectKit, context: PreparedContext) {
    this.kit = kit;
    this.#context = context;
    this.place = { federation: context.routes.federation, operation: "prepare" };
  }

  check(node: RootOperationNode): RootOperationNode {
    return filterForTenant(node, this.#context.scopeOf(KEY));
  }

  route(): RoutedTarget {
    throw runsNothing(this.place);
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

function runsNothing(place: ErrorPlace): TesseraeError {
  return new TesseraeError(
    "PREPARE_RUNS_NOTHING",
    "The function given to fed.prepare() only builds: return the query instead of executing it.",
    place,
  );
}
