/**
 * The merge against SQLite: rows are spread over shards, each shard is asked for its part, and what the merge makes of the parts is what SQLite says of all rows. Every type as the
 * key and as the value; random conditions on the groups, and random orders of them, in SQL's logic of three values.
 */
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { sqliteCodec } from "../../src/engine/sqlite/codecs.ts";
import { registerDecimalFunctions } from "../../src/engine/sqlite/decimal-functions.ts";
import type { MergedAggregate, ValueExpression } from "../../src/fan-out/fan-out-plan.ts";
import { describeType, type LogicalType } from "../../src/schema/logical-type.ts";
import { BIGINT, BOOLEAN, column, constant, decimal, planOf, sourceOf, valuesOf } from "./merge-plans.ts";
import { ORDERED_KINDS, valuesOfKind } from "./merge-values.ts";

const database = new DatabaseSync(":memory:");
registerDecimalFunctions(database);
afterAll(() => database.close());

function rowsOf(sql: string, types: readonly LogicalType[]): unknown[][] {
  const statement = database.prepare(sql);
  statement.setReturnArrays(true);
  statement.setReadBigInts(true);
  const codecs = types.map(sqliteCodec);
  const rows = statement.all() as unknown as unknown[][];
  return rows.map((row) => row.map((raw, at) => (raw === null ? null : codecs[at]?.decode(raw))));
}

/** As SQLite stores it, so that its text, bytes and numbers compare as such. */
function storageOf(type: LogicalType): string {
  switch (type.kind) {
    case "int":
    case "bigint":
    case "boolean":
      return "integer";
    case "double":
      return "real";
    case "decimal":
      return type.precision <= 15 ? "real" : "text";
    case "uuid":
    case "bytes":
      return "blob";
    default:
      return "text";
  }
}

/** An expression with its SQL. */
interface Written {
  readonly expression: ValueExpression;
  readonly sql: string;
}

/** What a group has beside its key: all of them whole numbers. */
const AGGREGATES = ["count(*)", "count(v)", "sum(n)", "count(distinct v)"];

const { number, condition } = fc.letrec<{ number: Written; condition: Written }>((tie) => ({
  number: fc.oneof(
    { maxDepth: 3 },
    fc
      .nat(AGGREGATES.length - 1)
      .map((at): Written => ({ expression: column(1 + at, BIGINT), sql: AGGREGATES[at] as string })),
    fc
      .integer({ min: -3, max: 6 })
      .map((value): Written => ({ expression: constant(BigInt(value), BIGINT), sql: `(${value})` })),
    fc.tuple(fc.constantFrom("+", "-", "*"), tie("number"), tie("number")).map(
      ([operator, left, right]): Written => ({
        expression: {
          kind: "arithmetic",
          operator,
          left: left.expression,
          right: right.expression,
          type: BIGINT,
        },
        sql: `(${left.sql} ${operator} ${right.sql})`,
      }),
    ),
    fc.tuple(tie("number"), tie("number")).map(
      ([first, second]): Written => ({
        expression: { kind: "coalesce", operands: [first.expression, second.expression], type: BIGINT },
        sql: `coalesce(${first.sql}, ${second.sql})`,
      }),
    ),
  ),
  condition: fc.oneof(
    { maxDepth: 3 },
    fc.tuple(fc.constantFrom("=", "<>", "<", "<=", ">", ">="), tie("number"), tie("number")).map(
      ([operator, left, right]): Written => ({
        expression: {
          kind: "comparison",
          operator,
          left: left.expression,
          right: right.expression,
          operands: BIGINT,
          type: BOOLEAN,
        },
        sql: `(${left.sql} ${operator} ${right.sql})`,
      }),
    ),
    fc.tuple(tie("number"), fc.boolean()).map(
      ([operand, negated]): Written => ({
        expression: { kind: "isNull", operand: operand.expression, negated, type: BOOLEAN },
        sql: `(${operand.sql} is ${negated ? "not " : ""}null)`,
      }),
    ),
    tie("condition").map(
      (operand): Written => ({
        expression: { kind: "not", operand: operand.expression, type: BOOLEAN },
        sql: `(not ${operand.sql})`,
      }),
    ),
    fc.tuple(fc.constantFrom("and", "or"), fc.array(tie("condition"), { minLength: 1, maxLength: 3 })).map(
      ([kind, operands]): Written => ({
        expression: { kind, operands: operands.map(({ expression }) => expression), type: BOOLEAN },
        sql: `(${operands.map(({ sql }) => sql).join(` ${kind} `)})`,
      }),
    ),
  ),
}));

const way = fc.record({ descending: fc.boolean(), nullsFirst: fc.boolean() });
type Way = { readonly descending: boolean; readonly nullsFirst: boolean };
const written = ({ descending, nullsFirst }: Way) =>
  `${descending ? "desc" : "asc"} nulls ${nullsFirst ? "first" : "last"}`;

/** Few different values, so that groups have members on several shards; and nulls enough for groups whose sum is none. */
const few = (values: fc.Arbitrary<unknown>) => fc.array(values, { minLength: 1, maxLength: 5 });
const place = fc.tuple(
  fc.integer({ min: 1, max: 4 }),
  fc.nat(4),
  fc.nat(4),
  fc.option(fc.integer({ min: -9, max: 9 }), { freq: 1 }),
);

describe.each(
  ORDERED_KINDS.map((kind, at) => [describeType(kind.type), kind, ORDERED_KINDS.at(at - 1) ?? kind] as const),
)("groups by %s", (_, keyKind, valueKind) => {
  const keyType = keyKind.type;
  const valueType = valueKind.type;

  test("are SQLite's", async () => {
    database.exec(
      `drop table if exists t; create table t (shard int, k ${storageOf(keyType)}, v ${storageOf(valueType)}, n integer)`,
    );
    const insert = database.prepare("insert into t values (?, ?, ?, ?)");
    const raw = (type: LogicalType, value: unknown) =>
      (value === null ? null : sqliteCodec(type).encode(value)) as SQLInputValue;
    const average = decimal(4);
    const aggregates: MergedAggregate[] = [
      { kind: "count", column: 2 },
      { kind: "count", column: 3 },
      { kind: "sum", column: 4, type: BIGINT },
      { kind: "countDistinct", column: 1, type: valueType },
      { kind: "avg", sum: 4, count: 5, type: average },
      { kind: "min", column: 1, type: valueType },
      { kind: "max", column: 1, type: valueType },
    ];
    const partTypes = [keyType, valueType, BIGINT, BIGINT, BIGINT, BIGINT];
    await fc.assert(
      fc.asyncProperty(
        few(valuesOfKind(keyKind)),
        few(valuesOfKind(valueKind)),
        fc.array(place, { maxLength: 25 }),
        fc.record({ key: way, value: way, order: way, condition, number, reorder: fc.boolean() }),
        fc.record({
          offset: fc.nat(2),
          limit: fc.option(fc.nat(4), { nil: undefined }),
          batchSize: fc.integer({ min: 1, max: 4 }),
        }),
        async (keys, values, places, ways, { offset, limit, batchSize }) => {
          database.exec("begin; delete from t");
          for (const [shard, key, value, n] of places)
            insert.run(
              shard,
              raw(keyType, keys[key % keys.length]),
              raw(valueType, values[value % values.length]),
              n,
            );
          database.exec("commit");
          const parts = [1, 2, 3, 4].map((shard) =>
            rowsOf(
              `select k, v, count(*), count(v), sum(n), count(n) from t where shard = ${shard}
                 group by k, v order by k ${written(ways.key)}, v ${written(ways.value)}`,
              partTypes,
            ),
          );
          const plan = planOf(partTypes, {
            sorted: [
              { column: 0, type: keyType, ...ways.key },
              { column: 1, type: valueType, ...ways.value },
            ],
            combine: { kind: "group", keys: [0], aggregates },
            having: ways.condition.expression,
            order: ways.reorder
              ? [
                  { value: ways.number.expression, type: BIGINT, ...ways.order },
                  { value: column(0, keyType), type: keyType, ...ways.key },
                ]
              : [],
            offset,
            limit,
          });
          const all = rowsOf(
            `select k, ${AGGREGATES.join(", ")}, tesserae_decimal_avg(n, 4), min(v), max(v) from t group by k having ${ways.condition.sql}
               order by ${ways.reorder ? `0 + ${ways.number.sql} ${written(ways.order)}, ` : ""}k ${written(ways.key)} limit ${limit ?? -1} offset ${offset}`,
            [keyType, BIGINT, BIGINT, BIGINT, BIGINT, average, valueType, valueType],
          );
          expect(
            await valuesOf(
              plan,
              parts.map((rows) => sourceOf(rows, batchSize)),
            ),
          ).toEqual(all);
        },
      ),
      { numRuns: Number(process.env["TESSERAE_TEST_RUNS"] ?? 40) },
    );
  });
});
