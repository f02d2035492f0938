/**
 * What may be written over all shards at once: an update or delete of one federated table whose conditions and values look at the row alone. Each row is then changed as it would be by
 * the statement of its own tenant, wherever it lives. The conditions that keep each shard to its own rows are added to it.
 */
import type {
  ColumnUpdateNode,
  DeleteQueryNode,
  InsertQueryNode,
  OperationNode,
  RawNode,
  SelectQueryNode,
  TableNode,
  UpdateQueryNode,
} from "kysely";
import { TesseraeError } from "../../base/errors.ts";
import type { SchemaModel, TableModel } from "../../schema/model.ts";
import { columnName } from "../../session/expression-inference.ts";
import { refuse } from "../../session/expression-walk.ts";
import { checkAssignments } from "../../session/key-assignment.ts";
import { unknownValue, writesLookups } from "../../session/lookup-claims.ts";
import { checkFragment } from "../../session/raw-fragment.ts";
import { allOf, type Source, tableName } from "../../session/source-walk.ts";
import { StatementWalk } from "../../session/statement-walk.ts";
import type { Condition } from "./key-members.ts";

export type WriteNode = UpdateQueryNode | DeleteQueryNode;

/** A write that was checked. */
export class CheckedWrite {
  readonly table: TableModel;
  /** The key's column as it stands in the statement: `dots.user_id`. */
  readonly keyColumn: string;
  readonly #node: WriteNode;

  /** STATEMENT_REFUSED, TABLE_NOT_HERE, REFERENCE_READ_ONLY, KEY_IMMUTABLE, COLUMN_UNKNOWN, RAW_REFUSED. */
  constructor(node: OperationNode, schema: SchemaModel, federation: string) {
    const write = new WriteWalk(schema, federation).check(node);
    this.#node = write.node;
    this.table = write.table;
    this.keyColumn = `${write.table.name}.${write.table.keyColumn}`;
  }

  /** The statement for the rows that also meet the condition. */
  where(condition: Condition): WriteNode {
    const added = condition.toOperationNode();
    const where = allOf(parens(added), this.#node.where && parens(this.#node.where.where));
    return { ...this.#node, where: { kind: "WhereNode", where } } as WriteNode;
  }
}

const parens = (node: OperationNode) => ({ kind: "ParensNode", node }) as OperationNode;

const ONE_ROW = "looks at the row alone: leave it out, or read the keys first and write with fed.at(key)";

/** What else an update or delete may have, and why it may not here. */
const REFUSED: Readonly<Record<string, string>> = {
  with: `WITH is refused: a write over all shards ${ONE_ROW}.`,
  from: `FROM is refused: a write over all shards ${ONE_ROW}.`,
  using: `USING is refused: a write over all shards ${ONE_ROW}.`,
  joins: `A join is refused: a write over all shards ${ONE_ROW}.`,
  limit:
    "A limit is refused: each shard would take its own rows. Choose them with a select on fed.everywhere, and write with fed.at(key).",
  orderBy: "An order is refused: it says nothing without a limit, which is refused too.",
  returning: "RETURNING is refused. Select the rows with fed.everywhere, before or after.",
  top: "TOP is refused, as a limit is.",
  output: "OUTPUT is refused. Select the rows with fed.everywhere, before or after.",
  explain: "EXPLAIN runs on one shard: write it with fed.at(key).",
};

class WriteWalk extends StatementWalk {
  readonly #federation: string;
  #table: TableModel | undefined;

  constructor(schema: SchemaModel, federation: string) {
    super(schema);
    this.#federation = federation;
  }

  check(node: OperationNode): { readonly node: WriteNode; readonly table: TableModel } {
    if (node.kind !== "UpdateQueryNode" && node.kind !== "DeleteQueryNode")
      throw refuse(
        node.kind === "InsertQueryNode"
          ? "An insert over all shards is refused: a federated row has one key, so insert it with fed.at(key); a reference table's rows are written with fed.main and copied by fed.references.publish()."
          : `A ${node.kind} is no write over all shards: those are updateTable and deleteFrom.`,
      );
    const write = node as WriteNode;
    for (const [property, why] of Object.entries(REFUSED)) {
      const value = (write as unknown as Record<string, unknown>)[property];
      const isTarget = property === "from" && write.kind === "DeleteQueryNode";
      if (value !== undefined && !isTarget && !(Array.isArray(value) && value.length === 0))
        throw refuse(why);
    }
    const target = write.kind === "UpdateQueryNode" ? write.table : write.from.froms[0];
    if (target?.kind !== "TableNode" || (write.kind === "DeleteQueryNode" && write.from.froms.length > 1))
      throw refuse("A write over all shards names one table, without an alias.");
    const checked = this.statement(write) as WriteNode;
    const table = this.#table as TableModel;
    if (writesLookups(checked, this.schema))
      throw unknownValue(
        table,
        undefined,
        "A write over all shards gives all rows one value. Write it with fed.at(key)",
      );
    return { node: checked, table };
  }

  protected override select(_node: SelectQueryNode): SelectQueryNode {
    throw refuse(`A subquery is refused: a write over all shards ${ONE_ROW}.`);
  }

  protected override fragment(node: RawNode, commas: boolean): void {
    checkFragment(node, this.schema, { commas });
  }

  protected override source(node: TableNode): never {
    throw refuse(`Table "${tableName(node)}" is refused: a write over all shards ${ONE_ROW}.`);
  }

  protected override target(node: TableNode) {
    const name = tableName(node);
    const table = node.table.schema === undefined ? this.schema.tables.get(name) : undefined;
    if (table?.kind === "reference")
      throw new TesseraeError(
        "REFERENCE_READ_ONLY",
        `Table "${name}" is a reference table: each shard holds a copy, which is read only. Write it with fed.main and then call fed.references.publish().`,
        { federation: this.#federation, table: name },
      );
    if (table === undefined || table.federation !== this.#federation)
      throw new TesseraeError(
        "TABLE_NOT_HERE",
        table === undefined
          ? `The schema defines no table "${name}". Define it in defineSchema, or correct the name.`
          : table.kind === "global"
            ? `Table "${name}" is global: it lives on main. Write it with fed.main.`
            : `Table "${name}" is federated on "${table.federation}". Use fed.in("${table.federation}").everywhere.`,
        { federation: this.#federation, table: name },
      );
    this.#table = table;
    return { table, condition: undefined };
  }

  /** A value is no key: nothing that is assigned to the distribution column is the row's own, unless it is that column. */
  protected override updates(
    updates: readonly ColumnUpdateNode[],
    sources: readonly Source[],
  ): readonly ColumnUpdateNode[] {
    const table = sources[0]?.table;
    // Each value of such a column is reserved in main for one key; a value of all keys can be reserved for none.
    const found = table?.lookups ?? [];
    for (const { column } of updates) {
      const name = columnName(column);
      if (name !== undefined && found.includes(name))
        throw refuse(
          `Column "${name}" of table "${table?.name}" is looked up: main knows the key of each of its values, and they are written with fed.at(key).`,
        );
    }
    return checkAssignments(updates, sources, {
      schema: this.schema,
      federation: this.#federation,
      key: undefined,
      sameKey: () => false,
    });
  }

  protected override rows(_node: InsertQueryNode): never {
    throw refuse("An insert over all shards is refused.");
  }
}
