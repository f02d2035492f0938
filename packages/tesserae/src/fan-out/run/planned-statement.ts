/** The statement of a plan for each engine, compiled and with its values encoded once. */
import type { QueryId, SelectQueryNode } from "kysely";
import type { Statement } from "../../engine/contract.ts";
import type { DialectKit, Planned } from "../../session/dialect-kit.ts";
import type { StatementPlan } from "../../session/statement-plan.ts";

export interface CompiledStatement {
  readonly planned: Planned;
  readonly statement: Statement;
  readonly plan: StatementPlan;
}

export class PlannedStatement {
  readonly node: SelectQueryNode;
  readonly #queryId: QueryId;
  readonly #compiled = new Map<DialectKit, CompiledStatement>();

  constructor(node: SelectQueryNode, queryId: QueryId) {
    this.node = node;
    this.#queryId = queryId;
  }

  for(kit: DialectKit): CompiledStatement {
    let compiled = this.#compiled.get(kit);
    if (compiled === undefined) {
      const planned = kit.compile(this.node, this.#queryId);
      const { sql, parameters, plan } = planned;
      const statement = { ...plan.statement(sql, parameters), streamWhole: true };
      compiled = { planned, statement, plan };
      this.#compiled.set(kit, compiled);
    }
    return compiled;
  }
}
