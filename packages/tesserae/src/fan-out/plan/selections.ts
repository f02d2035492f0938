/** What a query selects, one column after the other, `*` written out. */
import {
  type AliasNode,
  ColumnNode,
  type IdentifierNode,
  type OperationNode,
  type RawNode,
  ReferenceNode,
  type SelectQueryNode,
  TableNode,
} from "kysely";
import { unwrap } from "../../session/raw-fragment.ts";
import { tokenize } from "../../session/raw-tokens.ts";
import { columnOf } from "./nodes.ts";
import { unsupported } from "./refusal.ts";
import { keyStatus, type RelationColumn, type Scope, type Source } from "./scope.ts";
import { isBinaryText } from "./text-order.ts";
import type { TypeOf } from "./types.ts";

export interface Selected extends RelationColumn {
  readonly expression: OperationNode;
}

export function selectedColumns(node: SelectQueryNode, scope: Scope, typeOf: TypeOf): Selected[] {
  return (node.selections ?? []).flatMap(({ selection }) => {
    const item = selection as OperationNode;
    if (item.kind === "SelectAllNode") return scope.sources.flatMap((source) => allColumns(source, scope));
    if (item.kind === "ReferenceNode" && (item as ReferenceNode).column.kind === "SelectAllNode") {
      const alias = (item as ReferenceNode).table?.table.identifier.name;
      const source = scope.sources.find((candidate) => candidate.alias === alias);
      if (source === undefined)
        throw unsupported(`The query has no source "${alias}".`, "Select from one of its sources.");
      return allColumns(source, scope);
    }
    return [selectedColumn(item, scope, typeOf)];
  });
}

function allColumns(source: Source, scope: Scope): Selected[] {
  const { columns } = source.relation;
  if (columns === undefined)
    throw unsupported(
      `Which columns "${source.alias}" has is not known.`,
      "Name those to select instead of selectAll().",
    );
  return columns.map((column) => ({
    ...column,
    key: keyHere(scope, source, column),
    expression: ReferenceNode.create(ColumnNode.create(column.name), TableNode.create(source.alias)),
  }));
}

function keyHere(scope: Scope, source: Source, column: RelationColumn) {
  return source.standing === "keywise" ? keyStatus({ scope, source, column }) : undefined;
}

function selectedColumn(item: OperationNode, scope: Scope, typeOf: TypeOf): Selected {
  const aliased = item.kind === "AliasNode" ? (item as AliasNode) : undefined;
  const expression = aliased?.node ?? item;
  refuseStar(expression);
  const found = scope.resolveHere(expression);
  const column = found?.column;
  return {
    name: nameOf(aliased, expression),
    type: typeOf(expression) ?? column?.type,
    key: found === undefined ? undefined : keyHere(scope, found.source, found.column),
    binaryText: isBinaryText(expression, scope, typeOf),
    expression,
  };
}

function nameOf(aliased: AliasNode | undefined, expression: OperationNode): string {
  const name =
    aliased === undefined ? columnOf(expression)?.column : (unwrap(aliased.alias) as IdentifierNode).name;
  if (name === undefined)
    throw unsupported("A selected expression has no name.", 'Give it one: .as("name").');
  return name;
}

function refuseStar(node: OperationNode): void {
  const inner = unwrap(node);
  if (inner.kind !== "RawNode") return;
  const tokens = tokenize(inner as RawNode);
  if (tokens.at(-1)?.text === "*") throw unsupported("A fragment of raw SQL selects *.", "Use selectAll().");
}
