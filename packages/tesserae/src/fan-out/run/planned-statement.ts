/** The statement of a plan for each engine, compiled and with its values encoded once. */
import type { QueryId, SelectQueryNode } from "kysely";
import type { EngineDialect, Statement } from "../../engine/contract.ts";
import type { DialectKit, Planned } from "../../session/dialect-kit.ts";
import type { StatementPlan } from "../../session/statement-plan.ts";
import type { SortedColumn } from "../fan-out-plan.ts";
import { shardOrder } from "../plan/ordering.ts";

export interface CompiledStatement {
  readonly planned: Planned;
  readonly statement: Statement;
  readonly plan: StatementPlan;
}

/** The order in which every shard's rows come, and the engine that the plan's statement was written for. */
export interface ShardOrder {
  readonly sorted: readonly SortedColumn[];
  readonly dialect: EngineDialect;
}

export class PlannedStatement {
  readonly node: SelectQueryNode;
  readonly order: ShardOrder;
  readonly #queryId: QueryId;
  readonly #compiled = new Map<DialectKit, CompiledStatement>();

  constructor(node: SelectQueryNode, order: ShardOrder, queryId: QueryId) {
    this.node = node;
    this.order = order;
    this.#queryId = queryId;
  }

  for(kit: DialectKit): CompiledStatement {
    let compiled = this.#compiled.get(kit);
    if (compiled === undefined) {
      const planned = kit.compile(this.#nodeFor(kit.dialect), this.#queryId);
      const { sql, parameters, plan } = planned;
      const statement = { ...plan.statement(sql, parameters), streamWhole: true };
      compiled = { planned, statement, plan };
      this.#compiled.set(kit, compiled);
    }
    return compiled;
  }

  /** A shard of another engine has another place for nulls, and other words to say so. */
  #nodeFor({ capabilities }: EngineDialect): SelectQueryNode {
    const { sorted, dialect } = this.order;
    const alike =
      capabilities.nullsFirst === dialect.capabilities.nullsFirst &&
      capabilities.nullsClause === dialect.capabilities.nullsClause;
    const orderBy = alike ? undefined : shardOrder(sorted, { capabilities });
    return orderBy === undefined ? this.node : { ...this.node, orderBy };
  }
}
