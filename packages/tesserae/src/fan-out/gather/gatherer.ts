/** `fed.gather`: reads its arguments, and makes of them what is to be asked. */
import {
  type Compilable,
  DummyDriver,
  isOperationNodeSource,
  Kysely,
  type OperationNode,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RootOperationNode,
  type ValueNode,
} from "kysely";
import { TesseraeError } from "../../base/errors.ts";
import type { SchemaModel, TableModel } from "../../schema/model.ts";
import { deriveTypes } from "../../session/column-types.ts";
import { typeMark } from "../../session/typed-expression.ts";
import type { BoundParameter, GatheredTable, NamedParts } from "./analytical-engine.ts";
import {
  GATHER_DEFAULTS,
  type GatheredDatabase,
  type GatherOptions,
  type GatherParameter,
  type GatherSource,
  type GatherSources,
  MEMORY_LIMIT_BYTES_MIN,
} from "./gather-types.ts";
import { Gathering } from "./gathering.ts";
import { type GatherPlan, type OpenedSource, runGathering } from "./run-gathering.ts";
import { gatheredTable } from "./source-columns.ts";

/** A session in which the table can be named. */
// biome-ignore lint/suspicious/noExplicitAny: tables of every cluster and federation.
type SessionOf = (table: TableModel) => Kysely<any>;

/** The sources of a gathering whose rest is built and not written. */
export class GatheredSources<S extends GatherSources> {
  readonly #gatherer: Gatherer;
  readonly #sources: S;
  readonly #options: GatherOptions;

  constructor(gatherer: Gatherer, sources: S, options: GatherOptions) {
    this.#gatherer = gatherer;
    this.#sources = sources;
    this.#options = options;
  }

  /** The rest of the query, built over the sources' outputs as Kysely's tables. */
  query<O>(
    build: (db: Kysely<GatheredDatabase<S>>) => Compilable<O> & { toOperationNode(): OperationNode },
  ): Gathering<O> {
    return this.#gatherer.built(this.#sources, build, this.#options);
  }
}

/**
 * `fed.gather`: brings the rows of queries into an embedded analytical engine, and runs the rest of the SQL there: a join across keys, any window, any function. The SQL is
 * DuckDB's dialect, and sees the sources alone.
 *
 * @example
 * ```ts
 * const pairs = await fed.gather(
 *   {
 *     dots: fed.everywhere.selectFrom("dots").select(["id", "user_id", "lat"]).where("lat", ">", "37.7"),
 *     users: fed.main.selectFrom("users").select(["id", "name"]),
 *   },
 *   "select u.name, d.id, rank() over (order by d.lat desc, d.id) as place from dots d join users u on u.id = d.user_id",
 * );
 * ```
 */
export interface Gather {
  /** Sources by the names that the SQL calls them; parameters are `$1`, `$2`, …. */
  <Row = Record<string, unknown>>(
    sources: GatherSources,
    sql: string,
    parameters?: readonly GatherParameter[],
    options?: GatherOptions,
  ): Gathering<Row>;
  /** The SQL names tables of the schema by themselves: all keys' rows of federated ones. The columns that it can mean are read, of all rows: where a condition would spare much, name the sources. */
  <Row = Record<string, unknown>>(
    sql: string,
    parameters?: readonly GatherParameter[],
    options?: GatherOptions,
  ): Gathering<Row>;
  /** The rest of the query built by Kysely, over the sources as its tables. */
  <S extends GatherSources>(sources: S, options?: GatherOptions): GatheredSources<S>;
}

class Gatherer {
  readonly #schema: SchemaModel;
  readonly #sessionOf: SessionOf;

  constructor(schema: SchemaModel, sessionOf: SessionOf) {
    this.#schema = schema;
    this.#sessionOf = sessionOf;
  }

  /** The three forms; `Gather` types them. */
  gather(
    first: string | GatherSources,
    second?: string | readonly GatherParameter[] | GatherOptions,
    third?: readonly GatherParameter[] | GatherOptions,
    fourth?: GatherOptions,
  ): Gathering<unknown> | GatheredSources<GatherSources> {
    if (typeof first === "string") {
      const parameters = (second ?? []) as readonly GatherParameter[];
      return this.#written(undefined, first, parameters, (third ?? {}) as GatherOptions);
    }
    if (typeof second !== "string") return new GatheredSources(this, first, (second ?? {}) as GatherOptions);
    return this.#written(first, second, (third ?? []) as readonly GatherParameter[], fourth ?? {});
  }

  built<O>(
    sources: GatherSources,
    // biome-ignore lint/suspicious/noExplicitAny: `GatheredSources.query` types it.
    build: (db: Kysely<any>) => { toOperationNode(): OperationNode },
    options: GatherOptions,
  ): Gathering<O> {
    const opened = this.#open(sources);
    const node = build(offline).toOperationNode() as RootOperationNode;
    const { sql, parameters } = new PostgresQueryCompiler().compileQuery(node, { queryId: "gather" });
    const { parameters: types } = deriveTypes(node, modelOf(opened), {
      createQueryCompiler: () => new PostgresQueryCompiler(),
    });
    const bound = parameters.map((value, index) => ({ value, type: types[index] }));
    return this.#gathering<O>({ sources: async () => opened, sql, parameters: bound }, options);
  }

  #written(
    sources: GatherSources | undefined,
    sql: string,
    parameters: readonly GatherParameter[],
    options: GatherOptions,
  ): Gathering<unknown> {
    if (!Array.isArray(parameters))
      throw refuse(
        "the parameters of fed.gather are a list. Options come behind it: fed.gather(sql, [], { … })",
      );
    const opened = sources === undefined ? undefined : this.#open(sources);
    return this.#gathering(
      {
        sources: async (engine) => opened ?? this.#openNamed(await engine.namedParts(sql)),
        sql,
        parameters: parameters.map(bind),
        tables: opened === undefined ? [...this.#schema.tables.keys()] : undefined,
      },
      options,
    );
  }

  #gathering<O>(plan: GatherPlan, options: GatherOptions): Gathering<O> {
    checkOptions(options);
    return new Gathering<O>(
      () => runGathering(plan, options),
      options.resultRowsMax ?? GATHER_DEFAULTS.resultRowsMax,
    );
  }

  #open(sources: GatherSources): OpenedSource[] {
    return Object.entries(sources).map(([name, source]) => ({
      table: gatheredTable(name, source, this.#schema),
      source,
    }));
  }

  /** The tables of the schema that the SQL names, with the columns it can mean. */
  #openNamed({ tables, columns }: NamedParts): OpenedSource[] {
    return [...this.#schema.tables.values()]
      .filter(({ name }) => tables.has(name.toLowerCase()))
      .map((table) => {
        const named = table.columns.filter(
          ({ name }) => columns === undefined || columns.has(name.toLowerCase()),
        );
        // To count rows takes a column of them.
        const read = named.length > 0 ? named.map(({ name }) => name) : table.primaryKey.slice(0, 1);
        const source = this.#sessionOf(table).selectFrom(table.name).select(read) as GatherSource;
        return { table: gatheredTable(table.name, source, this.#schema), source };
      });
  }
}

/** Makes `fed.gather`. */
export function openGather(schema: SchemaModel, sessionOf: SessionOf): Gather {
  const gatherer = new Gatherer(schema, sessionOf);
  return gatherer.gather.bind(gatherer) as Gather;
}

/** Builds the rest of a query; nothing is ever sent through it. */
const offline: Kysely<unknown> = new Kysely<unknown>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/** The sources as tables of a schema of their own, by which the types of the rest's parameters are told. */
function modelOf(sources: readonly OpenedSource[]): SchemaModel {
  const tables = sources.map(({ table }) => [table.name, tableModelOf(table)] as const);
  return { federations: new Map(), tables: new Map(tables) };
}

/** With no more than inference looks at. */
function tableModelOf({ name, columns }: GatheredTable): TableModel {
  const models = columns.map((column) => ({
    ...column,
    nullable: true,
    default: undefined,
    id: undefined,
  }));
  return {
    name,
    columns: models,
    column: new Map(models.map((column) => [column.name, column])),
  } as unknown as TableModel;
}

/** A parameter, with the type that `typed(column, value)` names. */
function bind(parameter: GatherParameter): BoundParameter {
  if (!isOperationNodeSource(parameter)) return { value: parameter, type: undefined };
  const marked = findMark(parameter.toOperationNode());
  if (marked === undefined)
    throw refuse("a parameter of fed.gather is a value or typed(column, value), no other expression");
  return marked;
}

function findMark(node: OperationNode): BoundParameter | undefined {
  if (node.kind !== "RawNode") return undefined;
  const [inner] = (node as unknown as { readonly parameters: readonly OperationNode[] }).parameters;
  const type = typeMark(node);
  if (type === undefined) return inner === undefined ? undefined : findMark(inner);
  return inner?.kind === "ValueNode" ? { value: (inner as ValueNode).value, type } : undefined;
}

const LIMITS = [
  "memoryLimitBytes",
  "spillLimitBytes",
  "rowsMax",
  "resultRowsMax",
  "threads",
  "deadlineMs",
] as const;
const OPTIONS: ReadonlySet<string> = new Set([...LIMITS, "engine", "signal"]);

function checkOptions(options: GatherOptions): void {
  const unknown = Object.keys(options).find((name) => !OPTIONS.has(name));
  if (unknown !== undefined)
    throw refuse(`fed.gather has no option "${unknown}". It has: ${[...OPTIONS].join(", ")}`);
  const { engine = "duckdb", memoryLimitBytes = MEMORY_LIMIT_BYTES_MIN } = options;
  if (engine !== "duckdb" && engine !== "sqlite")
    throw refuse('the engine of fed.gather is "duckdb" or "sqlite"');
  for (const name of LIMITS) {
    const value = options[name];
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 1))
      throw refuse(`the option ${name} of fed.gather is a whole number from 1`);
  }
  if (memoryLimitBytes < MEMORY_LIMIT_BYTES_MIN)
    throw refuse(`the option memoryLimitBytes of fed.gather is at least ${MEMORY_LIMIT_BYTES_MIN}`);
}

function refuse(what: string): TesseraeError {
  const sentence = what.startsWith("fed.") ? what : `${what[0]?.toUpperCase()}${what.slice(1)}`;
  return new TesseraeError("CONFIG_INVALID", `${sentence}.`, { operation: "gather" });
}
