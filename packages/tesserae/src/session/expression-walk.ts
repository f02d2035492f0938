/**
 * The walk over expressions and clauses, shared by the tenant filter and the check of main's queries. It knows every node that Kysely 0.29's
 * compiler writes; a node or property it does not know is refused, so that a later Kysely cannot carry something past it. Each text that the
 * compiler writes as it is (operators, functions, data types) is held against a list or a shape.
 */
import type {
  AggregateFunctionNode,
  AliasNode,
  BinaryOperationNode,
  CommonTableExpressionNode,
  DataTypeNode,
  ExplainNode,
  FunctionNode,
  OperationNode,
  OperatorNode,
  OrderByItemNode,
  RawNode,
  SelectModifierNode,
  SelectQueryNode,
  TableNode,
  TopNode,
  UnaryOperationNode,
  WithNode,
} from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { SchemaModel } from "../schema/model.ts";
import { childrenOf, mapChildren, mapList, type Visit, withProperty } from "./node-children.ts";
import {
  beginsWithParenthesis,
  checkAlias,
  checkModifier,
  isList,
  isReservedName,
  unwrap,
  unwrapOnce,
} from "./raw-fragment.ts";
import { mayBeginWithSign, refuseRaw } from "./raw-tokens.ts";
import { EXPLAIN_WORDS, isFunctionName, isRefusedFunction, OPERATORS } from "./raw-words.ts";

/** The CTEs that can be named here, the newest first. */
export interface CteScope {
  readonly name: string;
  readonly outer: CteScope | undefined;
}

const DATA_TYPE = /^[A-Za-z][\w ]*(?:\(\s*\d+\s*(?:,\s*\d+\s*)?\))?(?: [A-Za-z ]+)?(?:\[\])*$/;

export abstract class ExpressionWalk {
  protected readonly schema: SchemaModel;
  protected ctes: CteScope | undefined;
  protected readonly visit: Visit = (node) => this.expression(node, false);
  /** For the items of a list that a comma in a raw fragment may lengthen without harm. */
  protected readonly visitItem: Visit = (node) => this.expression(node, true);

  constructor(schema: SchemaModel) {
    this.schema = schema;
  }

  /** A select with its own CTEs; those in scope outside stay in scope. */
  protected abstract select(node: SelectQueryNode): SelectQueryNode;
  /** A statement as a CTE's body. */
  protected abstract statement(node: OperationNode): OperationNode;
  /** A fragment of raw SQL with text of its own. */
  protected abstract fragment(node: RawNode, commas: boolean): void;

  protected expression(node: OperationNode, commas: boolean): OperationNode {
    switch (node.kind) {
      case "ReferenceNode":
      case "ColumnNode":
      case "IdentifierNode":
      case "ValueNode":
      case "PrimitiveValueListNode":
      case "SelectAllNode":
      case "DefaultInsertValueNode":
      case "CollateNode":
        return node;
      case "SelectionNode":
      case "GroupByItemNode":
      case "PartitionByItemNode":
        return mapChildren(node, childrenOf(node.kind) as readonly string[], this.visitItem);
      case "BinaryOperationNode":
        return this.#binary(node as BinaryOperationNode);
      case "OperatorNode":
        return checkOperator(node as OperatorNode);
      case "SelectQueryNode":
        return this.select(node as SelectQueryNode);
      case "RawNode":
        return this.raw(node as RawNode, commas);
      case "AliasNode":
        return this.#alias(node as AliasNode, commas);
      case "UnaryOperationNode":
        return this.#unary(node as UnaryOperationNode);
      case "FunctionNode":
        return this.#call(node as FunctionNode);
      case "AggregateFunctionNode":
        return this.#aggregate(node as AggregateFunctionNode);
      case "OrderByItemNode":
        return this.#orderByItem(node as OrderByItemNode);
      case "DataTypeNode":
        if (!DATA_TYPE.test((node as DataTypeNode).dataType))
          throw refuse(
            `The data type ${JSON.stringify((node as DataTypeNode).dataType)} is no plain type. Write one, such as varchar(64).`,
          );
        return node;
      default:
        return this.#plain(node);
    }
  }

  #plain(node: OperationNode): OperationNode {
    const children = childrenOf(node.kind);
    if (children !== undefined) return mapChildren(node, children, this.visit);
    if (node.kind === "TableNode")
      throw refuseRaw("a table in the place of a value; name it with selectFrom");
    throw refuse(
      `A ${node.kind} cannot stand inside a query here. Build the statement with selectFrom, insertInto, updateTable or deleteFrom; a writing statement inside another goes into .with(…).`,
    );
  }

  protected raw(node: RawNode, commas: boolean): OperationNode {
    const inner = unwrapOnce(node);
    if (inner === node) {
      this.fragment(node, commas);
      return this.#holes(node);
    }
    const next = this.expression(inner, commas);
    return next === inner ? node : ({ ...node, parameters: [next, ...node.parameters.slice(1)] } as RawNode);
  }

  /** The nodes in a fragment's midst, those of nested fragments too. Nodes beyond the last fragment are never written: marks of `typed`. */
  #holes(node: RawNode): RawNode {
    const written = node.sqlFragments.length;
    let index = -1;
    const parameters = mapList(node.parameters, (parameter) => {
      index++;
      if (index >= written) return parameter;
      return parameter.kind === "RawNode"
        ? this.#holes(parameter as RawNode)
        : this.expression(parameter, false);
    });
    return withProperty(node, "parameters", parameters);
  }

  #binary(node: BinaryOperationNode): BinaryOperationNode {
    const leftOperand = this.expression(node.leftOperand, false);
    const rightOperand = this.expression(node.rightOperand, false);
    const operator =
      node.operator.kind === "OperatorNode" ? (node.operator as OperatorNode).operator : undefined;
    if (operator === undefined) {
      this.expression(node.operator, false);
    } else if (operator !== "=") {
      checkOperator(node.operator as OperatorNode);
      if (operator === "in" || operator === "not in") checkInList(rightOperand);
      else if (
        operator.startsWith("?") &&
        (unwrap(leftOperand).kind === "RawNode" || unwrap(rightOperand).kind === "RawNode")
      ) {
        // A parameter's place on SQLite and MariaDB: with free text on its sides it could become one, and shift the others.
        throw refuseRaw(`a part of the operator ${operator}; give it columns and values`);
      }
    }
    if (leftOperand === node.leftOperand && rightOperand === node.rightOperand) return node;
    return { ...node, leftOperand, rightOperand };
  }

  #unary(node: UnaryOperationNode): UnaryOperationNode {
    if (node.operator.kind === "OperatorNode") checkOperator(node.operator as OperatorNode);
    else this.expression(node.operator, false);
    let operand = this.expression(node.operand, false);
    // `--x` would be a comment, which hides the rest of the statement.
    if ((node.operator as OperatorNode).operator === "-" && mayBeginWithSign(operand))
      operand = { kind: "ParensNode", node: operand } as OperationNode;
    return withProperty(node, "operand", operand);
  }

  #call(node: FunctionNode): FunctionNode {
    checkFunction(node.func);
    return withProperty(
      node,
      "arguments",
      mapList(node.arguments, (argument) => this.#argument(argument)),
    );
  }

  #aggregate(node: AggregateFunctionNode): AggregateFunctionNode {
    checkFunction(node.func);
    const copy = withProperty(
      node,
      "aggregated",
      mapList(node.aggregated, (argument) => this.#argument(argument)),
    );
    return mapChildren(copy, ["orderBy", "withinGroup", "filter", "over"], this.visit);
  }

  /** `to_json(d)`: a row of a table that FROM names, which is filtered there. */
  #argument(node: OperationNode): OperationNode {
    if (node.kind === "TableNode" && (node as TableNode).table.schema === undefined) return node;
    return this.expression(node, true);
  }

  #alias(node: AliasNode, commas: boolean): AliasNode {
    this.aliasName(node.alias);
    return withProperty(node, "node", this.expression(node.node, commas));
  }

  /** The alias as text, where it is a plain name. */
  protected aliasName(alias: OperationNode): string | undefined {
    const inner = unwrap(alias);
    const { name } = inner as unknown as { readonly name?: unknown };
    if (inner.kind === "IdentifierNode" && typeof name === "string") return name;
    if (inner.kind !== "RawNode") throw refuseRaw('an alias that is no plain name; write .as("name")');
    checkAlias(inner as RawNode);
    return undefined;
  }

  #orderByItem(node: OrderByItemNode): OrderByItemNode {
    if (node.nulls !== undefined && node.nulls !== "first" && node.nulls !== "last")
      throw refuse(`The order ${JSON.stringify(node.nulls)} of nulls is neither first nor last.`);
    let copy = withProperty(node, "orderBy", this.expression(node.orderBy, true));
    const { direction } = node;
    if (direction !== undefined && !isPlainDirection(direction))
      copy = withProperty(copy, "direction", this.expression(direction, true));
    return copy;
  }

  /** Puts the CTEs in scope, one after the other. The caller restores `ctes` when the query ends. */
  protected with(node: WithNode): WithNode {
    const expressions = mapList(node.expressions, (cte) => {
      const name = cte.name.table.table.identifier.name;
      this.#checkCteName(cte, name);
      const before = this.ctes;
      const within: CteScope = { name, outer: before };
      // A recursive CTE sees itself. One that is not would find a table of that name instead: it stays unknown until it is complete.
      if (node.recursive === true) this.ctes = within;
      const expression = this.statement(unwrap(cte.expression));
      this.ctes = within;
      return expression === cte.expression || expression === unwrap(cte.expression)
        ? cte
        : { ...cte, expression };
    });
    return withProperty(node, "expressions", expressions);
  }

  #checkCteName(cte: CommonTableExpressionNode, name: string): void {
    if (cte.name.table.table.schema === undefined && !isReservedName(name, this.schema)) return;
    throw refuse(
      `The query with the name "${name}" hides a table of that name. Give it another name in .with(…).`,
      name,
    );
  }

  protected isCte(name: string): boolean {
    for (let scope = this.ctes; scope !== undefined; scope = scope.outer)
      if (scope.name === name) return true;
    return false;
  }

  protected selectModifier(node: SelectModifierNode, place: "front" | "end"): SelectModifierNode {
    if (node.rawModifier === undefined) return node;
    if (node.rawModifier.kind !== "RawNode")
      throw refuseRaw("a modifier that is no row lock; use forUpdate(), forShare(), distinct(), …");
    checkModifier(node.rawModifier as RawNode, place);
    return node;
  }

  protected endModifier(node: OperationNode): OperationNode {
    if (node.kind === "SelectModifierNode") return this.selectModifier(node as SelectModifierNode, "end");
    if (node.kind !== "RawNode") throw refuse(`A ${node.kind} cannot stand at a statement's end.`);
    checkModifier(node as RawNode, "end");
    return node;
  }

  protected checkExplain(node: ExplainNode): void {
    const words = node.options === undefined ? [] : explainWords(node.options);
    if (node.format !== undefined) words.push(...(/^\w+$/.test(node.format) ? [] : [node.format]));
    const strange = words.find((word) => !EXPLAIN_WORDS.has(word));
    if (strange !== undefined)
      throw refuseRaw(
        `the explain option ${JSON.stringify(strange)}; use .explain("json", sql\`analyze\`) and the like`,
      );
  }

  protected checkTop(node: TopNode): void {
    const { expression, modifiers } = node;
    if (
      (typeof expression === "number" || typeof expression === "bigint") &&
      (modifiers === undefined || /^(?:percent|with ties|percent with ties)$/.test(modifiers))
    )
      return;
    throw refuse("top() takes a number. Use limit(…).");
  }
}

/** An operand of `in`. SQLite reads `x in "name"` as a query of the table `name`, and `x in f(…)` as one of a table-valued function. */
function checkInList(node: OperationNode): void {
  const inner = unwrap(node);
  if (isList(inner) || inner.kind === "ValueNode") return;
  if (inner.kind === "RawNode" && beginsWithParenthesis(inner as RawNode)) return;
  throw refuseRaw('the operator "in" without a list; give an array, or a query built with selectFrom');
}

function checkOperator(node: OperatorNode): OperatorNode {
  if (!OPERATORS.has(node.operator))
    throw refuse(
      `The operator ${JSON.stringify(node.operator)} is not one that every engine reads alike. Use a function instead.`,
    );
  return node;
}

function checkFunction(name: string): void {
  if (!isFunctionName(name))
    throw refuse(
      `The function name ${JSON.stringify(name)} is no plain name. Give the name alone, and its arguments as a list.`,
    );
  const last = name.slice(name.lastIndexOf(".") + 1);
  if (isRefusedFunction(last))
    throw refuseRaw(`a call of ${last}(), which can read or change more than the key's rows`);
}

/** `asc` and `desc`, as Kysely itself writes them. */
function isPlainDirection(node: OperationNode): boolean {
  const fragments = (node as RawNode).sqlFragments;
  return (
    fragments !== undefined && fragments.length === 1 && (fragments[0] === "asc" || fragments[0] === "desc")
  );
}

function explainWords(options: OperationNode): string[] {
  const { sqlFragments, parameters } = options as RawNode;
  if (options.kind !== "RawNode" || parameters.length > 0) return [options.kind];
  return sqlFragments
    .join("")
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((word) => word !== "");
}

export function refuse(message: string, table?: string): TesseraeError {
  return new TesseraeError("STATEMENT_REFUSED", message, { table });
}
