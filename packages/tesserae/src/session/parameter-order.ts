/** In which order the compiler lists a statement's parameters, told by the nodes they come from. */
import type { OperationNode, QueryCompiler, QueryId, RootOperationNode } from "kysely";

export interface ParameterPlace {
  /** A ValueNode or PrimitiveValueListNode. */
  readonly node: OperationNode;
  /** The position within the list; 0 for a single value. */
  readonly index: number;
}

/** What Kysely's DefaultQueryCompiler has, and declares protected. */
interface CompilerInside {
  readonly nodeStack: readonly OperationNode[];
  addParameter(value: unknown): void;
}

const NO_QUERY_ID = {} as QueryId;

/**
 * Compiles with a compiler made for this one call and notes the node of each parameter. A node that stands at several places is listed once for
 * each.
 */
export function recordParameters(compiler: QueryCompiler, node: RootOperationNode): ParameterPlace[] {
  const places: ParameterPlace[] = [];
  const inside = compiler as unknown as CompilerInside;
  const addParameter = inside.addParameter.bind(compiler);
  inside.addParameter = (value) => {
    const source = inside.nodeStack.at(-1) as OperationNode;
    const last = places.at(-1);
    places.push({ node: source, index: last?.node === source ? last.index + 1 : 0 });
    addParameter(value);
  };
  compiler.compileQuery(node, NO_QUERY_ID);
  return places;
}

/**
 * A copy of the tree in which each node stands at one place only. An expression that was built once and used twice would otherwise get the same
 * type at both places.
 */
export function withDistinctNodes<T extends OperationNode>(node: T): T {
  if (node.kind === "ValueNode" || node.kind === "PrimitiveValueListNode") return { ...node };
  const copy: Record<string, unknown> = {};
  for (const property in node) {
    const value = (node as unknown as Record<string, unknown>)[property];
    if (Array.isArray(value))
      copy[property] = value.map((item) => (isNode(item) ? withDistinctNodes(item) : item));
    else copy[property] = isNode(value) ? withDistinctNodes(value) : value;
  }
  return copy as unknown as T;
}

export function isNode(value: unknown): value is OperationNode {
  return typeof value === "object" && value !== null && "kind" in value;
}
