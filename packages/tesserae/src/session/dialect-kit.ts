/** One engine's compiling and planning, shared by every session of a federation. */
import type { CompiledQuery, DialectAdapter, QueryCompiler, QueryId, RootOperationNode } from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { EngineDialect } from "../engine/contract.ts";
import type { SchemaModel } from "../schema/model.ts";
import { roundAverages } from "./average-digits.ts";
import { rewriteDecimals } from "./decimal-rewrite.ts";
import { type StatementPlan, StatementPlans } from "./statement-plan.ts";
import { typeSignature } from "./typed-expression.ts";
import { portableUpsert } from "./upsert-rewrite.ts";

const AVERAGE = /\bavg\(/i;

export interface Planned {
  readonly query: RootOperationNode;
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly plan: StatementPlan;
}

export class DialectKit {
  readonly dialect: EngineDialect;
  readonly adapter: DialectAdapter;
  readonly #compiler: QueryCompiler;
  readonly #plans: StatementPlans;
  readonly #schema: SchemaModel;

  constructor(dialect: EngineDialect, schema: SchemaModel, planEntriesMax: number) {
    this.dialect = dialect;
    this.#schema = schema;
    this.#compiler = dialect.createQueryCompiler();
    this.adapter = returningAdapter(dialect.createAdapter());
    this.#plans = new StatementPlans(dialect, schema, planEntriesMax);
  }

  /** SQL text, parameters and plan of a tree that was filtered already. The tree it gives back is the one it was given. */
  compile(node: RootOperationNode, queryId: QueryId): Planned {
    this.#checkReturning(node);
    const { node: upsert, rowsWritten } = portableUpsert(node, this.#schema, this.dialect);
    const tree = this.dialect.capabilities.exactDecimals ? upsert : rewriteDecimals(upsert, this.#schema);
    const compiled = this.#withExactAverages(this.#compiler.compileQuery(tree, queryId));
    return {
      query: node,
      sql: compiled.sql,
      parameters: compiled.parameters,
      plan: this.#plans.planFor(compiled, typeSignature(tree), rowsWritten),
    };
  }

  /** The text is looked at, since few statements hold an average, and a walk over the tree costs each of them. */
  #withExactAverages(compiled: CompiledQuery): CompiledQuery {
    const { averageDigits } = this.dialect.capabilities;
    if (averageDigits === undefined || !AVERAGE.test(compiled.sql)) return compiled;
    const { query, queryId } = compiled;
    const rounded = roundAverages(query as RootOperationNode, this.#schema, averageDigits);
    return { ...this.#compiler.compileQuery(rounded, queryId), query };
  }

  /** A raw statement with the text and parameters it came with. */
  adopt(compiled: CompiledQuery, query: RootOperationNode): Planned {
    return {
      query,
      sql: compiled.sql,
      parameters: compiled.parameters,
      plan: this.#plans.planFor(compiled, "as text"),
    };
  }

  #checkReturning(node: RootOperationNode): void {
    const { returning } = this.dialect.capabilities;
    const refused =
      node.kind === "UpdateQueryNode"
        ? !returning.update && node.returning
        : node.kind === "InsertQueryNode"
          ? !returning.insert && node.returning
          : node.kind === "DeleteQueryNode"
            ? !returning.delete && node.returning
            : undefined;
    if (refused === undefined || refused === false) return;
    const verb = node.kind.replace("QueryNode", "").toLowerCase();
    throw new TesseraeError(
      "RETURNING_UNSUPPORTED",
      `${this.dialect.name} has no ${verb} … returning. Read the rows in the same transaction instead: select them by the same condition.`,
      { operation: verb },
    );
  }
}

/**
 * Kysely asks its adapter whether a result's rows or its counts are meant. A statement that came through `#checkReturning` with a returning clause
 * gives rows, on every engine.
 */
function returningAdapter(adapter: DialectAdapter): DialectAdapter {
  return Object.create(adapter, { supportsReturning: { value: true } }) as DialectAdapter;
}
