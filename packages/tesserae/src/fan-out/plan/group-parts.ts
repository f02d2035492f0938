/** A group's keys and aggregates, taken apart into what each shard computes and how the parts are put together. */
import type { AggregateFunctionNode, CaseNode, FunctionNode, OperationNode, SelectQueryNode } from "kysely";
import type { LogicalType } from "../../schema/logical-type.ts";
import { averageType, BIGINT, functionType } from "../../session/expression-types.ts";
import type { MergedAggregate, PlanColumn } from "../fan-out-plan.ts";
import { fingerprint } from "./fingerprint.ts";
import { inside, shardName, shardSelection } from "./nodes.ts";
import { GATHER, unsupported } from "./refusal.ts";
import type { Scope } from "./scope.ts";
import { comparableType, isBinaryText } from "./text-order.ts";
import type { TypeOf } from "./types.ts";

interface Part {
  readonly expression: OperationNode;
  readonly type: LogicalType;
}

/** How an aggregate is put together, once it is known in which columns its parts come. */
type Merging = (columnOf: (part: string) => number, distinctColumn: number) => MergedAggregate;

export class GroupParts {
  readonly #scope: Scope;
  readonly #typeOf: TypeOf;
  readonly #prints = new Map<OperationNode, string>();
  readonly #keys = new Map<string, Part>();
  readonly #partials = new Map<string, Part>();
  readonly #aggregates = new Map<string, Merging>();
  /** The one column whose different values are counted: the shards group by it too. */
  #distinct: (Part & { readonly print: string }) | undefined;
  /** Different values of the key are counted, by each shard. */
  #countsKeys = false;

  constructor(scope: Scope, typeOf: TypeOf) {
    this.#scope = scope;
    this.#typeOf = typeOf;
  }

  /** Each expression is met several times: in the result, in HAVING, in the order, and twice over. */
  #print(node: OperationNode): string {
    let print = this.#prints.get(node);
    if (print === undefined) {
      print = fingerprint(node, this.#scope);
      this.#prints.set(node, print);
    }
    return print;
  }

  get keyCount(): number {
    return this.#keys.size;
  }

  get countsDistinct(): boolean {
    return this.#distinct !== undefined;
  }

  keyTypes(): LogicalType[] {
    return [...this.#keys.values()].map(({ type }) => type);
  }

  /** The key's place in the combined row; it becomes one where it is none yet. */
  addKey(expression: OperationNode, type: LogicalType | undefined): number {
    const print = this.#print(expression);
    if (!this.#keys.has(print)) {
      const binaryText = isBinaryText(expression, this.#scope, this.#typeOf);
      this.#keys.set(print, {
        expression,
        type: comparableType({ type, binaryText }, "It is grouped by an expression"),
      });
    }
    return [...this.#keys.keys()].indexOf(print);
  }

  keyOf(expression: OperationNode): number | undefined {
    const index = [...this.#keys.keys()].indexOf(this.#print(expression));
    return index < 0 ? undefined : index;
  }

  keyType(index: number): LogicalType {
    return this.keyTypes()[index] as LogicalType;
  }

  /** The aggregate's place among the aggregates. */
  addAggregate(node: AggregateFunctionNode): number {
    const print = this.#print(node);
    if (!this.#aggregates.has(print)) this.#aggregates.set(print, this.#takeApart(node));
    return [...this.#aggregates.keys()].indexOf(print);
  }

  #takeApart(node: AggregateFunctionNode): Merging {
    const name = node.func.toLowerCase();
    if (node.over !== undefined)
      throw unsupported(
        `The window of ${name}() spans groups of several shards.`,
        `Compute it in the application from the groups, or ${GATHER}.`,
      );
    if (node.orderBy !== undefined || node.withinGroup !== undefined || !(name in MERGED))
      throw unsupported(
        `${name}() cannot be put together from the shards' parts.`,
        `Those that can are count, sum, avg, min and max. Group by the distribution column too, or ${GATHER}.`,
      );
    if (node.aggregated.length !== 1)
      throw unsupported(`${name}() of several values is not taken apart.`, "Give it one.");
    return this[MERGED[name as keyof typeof MERGED]](node);
  }

  _count(node: AggregateFunctionNode): Merging {
    const argument = node.aggregated[0] as OperationNode;
    const ofKeys = node.distinct === true && this.#isKey(argument);
    // Where the shards group by another column too, a key may be in several of these groups, and would be counted in each.
    if (ofKeys && this.#distinct !== undefined) throw severalDistinct();
    if (node.distinct !== true || ofKeys) {
      this.#countsKeys ||= ofKeys;
      const part = this.#partial(node, BIGINT);
      return (columnOf) => ({ kind: "count", column: columnOf(part) });
    }
    const counted = node.filter === undefined ? argument : onlyWhere(argument, node.filter.where);
    const print = this.#print(counted);
    if (this.#countsKeys || (this.#distinct !== undefined && this.#distinct.print !== print))
      throw severalDistinct();
    const type = comparableType(
      {
        type: this.#typeOf(argument),
        binaryText: isBinaryText(argument, this.#scope, this.#typeOf),
      },
      "Different values are counted of an expression",
    );
    this.#distinct = { expression: counted, type, print };
    return (_, column) => ({ kind: "countDistinct", column, type });
  }

  _sum(node: AggregateFunctionNode): Merging {
    const { part, type } = this.#sum(node);
    return (columnOf) => ({ kind: "sum", column: columnOf(part), type });
  }

  _avg(node: AggregateFunctionNode): Merging {
    const { part, argument } = this.#sum(node);
    const count = this.#partial({ ...node, func: "count" }, BIGINT);
    const type = averageType(argument) as LogicalType;
    return (columnOf) => ({ kind: "avg", sum: columnOf(part), count: columnOf(count), type });
  }

  _min(node: AggregateFunctionNode): Merging {
    return this.#extreme(node, "min");
  }

  _max(node: AggregateFunctionNode): Merging {
    return this.#extreme(node, "max");
  }

  #sum(node: AggregateFunctionNode) {
    const name = node.func.toLowerCase();
    if (node.distinct === true)
      throw unsupported(
        `${name}() of different values needs all of them side by side.`,
        `Select the different values and add them in the application, or ${GATHER}.`,
      );
    const argument = this.#typeOf(node.aggregated[0] as OperationNode);
    if (argument?.kind === "double")
      throw unsupported(
        `${name}() of doubles depends on the order in which they are added, and so on the shards.`,
        "Keep the values in a decimal column, or add them in the application.",
      );
    const type = functionType("sum", [argument]);
    if (type === undefined)
      throw unsupported(
        `${name}() of a value whose type is no whole number or decimal, as far as the query tells.`,
        "Name the type: typed(bigint(), expression).",
      );
    // A shard's part may pass 64 bits where the whole does not; the value is read as it is, and the whole is checked.
    const part = this.#partial({ ...node, func: "sum" }, type.kind === "bigint" ? BIGINT : type);
    return { part, type, argument };
  }

  #extreme(node: AggregateFunctionNode, kind: "min" | "max"): Merging {
    const argument = node.aggregated[0] as OperationNode;
    const binaryText = isBinaryText(argument, this.#scope, this.#typeOf);
    const type = comparableType(
      { type: this.#typeOf(argument), binaryText },
      `${kind}() is taken of an expression`,
    );
    const { distinct: _, ...plain } = node;
    const part = this.#partial(plain as AggregateFunctionNode, type);
    return (columnOf) => ({ kind, column: columnOf(part), type });
  }

  #partial(node: AggregateFunctionNode, type: LogicalType): string {
    const print = this.#print(node);
    if (!this.#partials.has(print)) this.#partials.set(print, { expression: node, type });
    return print;
  }

  /** No two shards have the same key: their counts of different ones add up. */
  #isKey(node: OperationNode): boolean {
    const found = this.#scope.resolveHere(inside(node));
    return found?.source.standing === "keywise" && found.column.key !== undefined;
  }

  /** The shard's columns: the keys, the column whose different values are counted, the aggregates' parts. */
  #parts(): Part[] {
    return [
      ...this.#keys.values(),
      ...(this.#distinct === undefined ? [] : [this.#distinct]),
      ...this.#partials.values(),
    ];
  }

  selections(): NonNullable<SelectQueryNode["selections"]> {
    return this.#parts().map(({ expression }, index) => shardSelection(index, expression));
  }

  columns(): PlanColumn[] {
    return this.#parts().map(({ type }, index) => ({ name: shardName(index), type }));
  }

  /** How many of the shard's columns its rows are grouped by. */
  get groupedColumns(): number {
    return this.#keys.size + (this.#distinct === undefined ? 0 : 1);
  }

  merged(): MergedAggregate[] {
    const prints = [...this.#partials.keys()];
    const columnOf = (part: string) => this.groupedColumns + prints.indexOf(part);
    return [...this.#aggregates.values()].map((merging) => merging(columnOf, this.#keys.size));
  }
}

const MERGED = {
  count: "_count",
  sum: "_sum",
  avg: "_avg",
  min: "_min",
  max: "_max",
} as const satisfies Record<string, keyof GroupParts>;

function severalDistinct(): Error {
  return unsupported(
    "Different values of several columns are counted in one query.",
    "Count those of one column in each query.",
  );
}

/** `case when condition then value end`: null, which no aggregate takes notice of, where the condition does not hold. */
function onlyWhere(value: OperationNode, condition: OperationNode): OperationNode {
  return {
    kind: "CaseNode",
    when: [{ kind: "WhenNode", condition, result: value }],
  } as unknown as CaseNode;
}

export function isCoalesce(node: OperationNode): node is FunctionNode {
  const func = node.kind === "FunctionNode" ? (node as FunctionNode).func.toLowerCase() : "";
  return func === "coalesce" || func === "ifnull";
}
