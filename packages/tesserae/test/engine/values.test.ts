/**
 * The same values on every engine: each logical type at its extremes and at random comes back equal, sorts in the same order, and equals
 * itself and nothing else, in SQL.
 */
import { forEachEngine } from "@tesserae/test-support";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isTesseraeError } from "../../src/base/errors.ts";
import { controlColumn, controlTable } from "../../src/engine/control-tables.ts";
import { describeType, type LogicalType } from "../../src/schema/logical-type.ts";
import { OpenDatabase } from "./open-database.ts";
import { INVALID_VALUES, VALUE_KINDS, type ValueKind } from "./value-kinds.ts";

const RUNS = 15;
const ROWS_MAX = 40;

const tableName = (index: number): string => `values_${index}`;

class ValueTable {
  readonly #open: OpenDatabase;
  readonly #name: string;
  readonly #type: LogicalType;

  constructor(open: OpenDatabase, index: number, type: LogicalType) {
    this.#open = open;
    this.#name = tableName(index);
    this.#type = type;
  }

  /** Replaces the table's rows by these values, numbered from 0. */
  async fill(values: readonly unknown[]): Promise<void> {
    await this.#open.run(`delete from ${this.#name}`);
    const rows = values.map(() => "(?, ?)").join(", ");
    const parameters = values.flatMap((value, id) => [id, value === null ? null : this.encode(value)]);
    await this.#open.run(`insert into ${this.#name} (id, value) values ${rows}`, parameters);
  }

  encode(value: unknown): unknown {
    return this.#open.engine.dialect.codec(this.#type).encode(value);
  }

  async read(): Promise<unknown[]> {
    const raw = await this.#open.column(`select value from ${this.#name} order by id`);
    const codec = this.#open.engine.dialect.codec(this.#type);
    return raw.map((value) => (value === null ? null : codec.decode(value)));
  }

  /** The numbers of the rows in the order of their values. */
  async order(direction: "asc" | "desc"): Promise<number[]> {
    return this.#ids(`select id from ${this.#name} order by value ${direction}, id`);
  }

  async where(operator: "=" | "<" | ">=", value: unknown): Promise<number[]> {
    return this.#ids(`select id from ${this.#name} where value ${operator} ? order by id`, [
      this.encode(value),
    ]);
  }

  async #ids(sql: string, parameters: readonly unknown[] = []): Promise<number[]> {
    const { rows } = await this.#open.run(sql, parameters);
    return rows.map((row) => Number(row["id"]));
  }
}

/** The order that SQL must give: by value, then by number. */
function sorted(values: readonly unknown[], compare: (a: never, b: never) => number, sign: 1 | -1): number[] {
  return values
    .map((_, id) => id)
    .sort((a, b) => sign * compare(values[a] as never, values[b] as never) || a - b);
}

forEachEngine((engine) => {
  describe(`values on ${engine.name}`, () => {
    let open: OpenDatabase;
    beforeAll(async () => {
      open = await OpenDatabase.of(engine);
      for (const [index, { type }] of VALUE_KINDS.entries()) {
        const columns = [
          controlColumn("id", { kind: "int" }),
          controlColumn("value", type, { nullable: true }),
        ];
        await open.createTables(controlTable(tableName(index), columns, ["id"]));
      }
    });
    afterAll(() => open[Symbol.asyncDispose]());

    const tableOf = (kind: ValueKind) => new ValueTable(open, VALUE_KINDS.indexOf(kind), kind.type);

    for (const kind of VALUE_KINDS) {
      const { extremes, compare, arbitrary } = kind;
      const name = describeType(kind.type);
      const back = (values: readonly unknown[]) =>
        values.map((value) => (value === null ? null : (kind.normalize?.(value) ?? value)));

      test(`${name} comes back equal at its extremes, and null stays null`, async () => {
        const values = [...extremes, null];
        await tableOf(kind).fill(values);
        expect(await tableOf(kind).read()).toEqual(back(values));
      });

      test(`${name} comes back equal at random`, async () => {
        const table = tableOf(kind);
        await fc.assert(
          fc.asyncProperty(fc.array(arbitrary, { minLength: 1, maxLength: ROWS_MAX }), async (values) => {
            await table.fill(values);
            expect(await table.read()).toEqual(back(values));
          }),
          { numRuns: RUNS },
        );
      });

      if (compare === undefined) continue;

      test(`${name} sorts in its own order`, async () => {
        const table = tableOf(kind);
        const check = async (values: readonly unknown[]) => {
          await table.fill(values);
          expect(await table.order("asc")).toEqual(sorted(back(values), compare, 1));
          expect(await table.order("desc")).toEqual(sorted(back(values), compare, -1));
        };
        await check(extremes);
        await fc.assert(fc.asyncProperty(fc.array(arbitrary, { minLength: 2, maxLength: ROWS_MAX }), check), {
          numRuns: RUNS,
        });
      });

      test(`${name} equals itself and nothing else`, async () => {
        const table = tableOf(kind);
        const check = async (values: readonly unknown[]) => {
          await table.fill(values);
          const kept = back(values);
          const ids = (holds: (order: number) => boolean, value: unknown) =>
            kept.flatMap((other, id) => (holds(compare(other as never, value as never)) ? [id] : []));
          for (const [id, value] of values.entries()) {
            expect(await table.where("=", value)).toEqual(ids((order) => order === 0, kept[id]));
            expect(await table.where("<", value)).toEqual(ids((order) => order < 0, kept[id]));
            expect(await table.where(">=", value)).toEqual(ids((order) => order >= 0, kept[id]));
          }
        };
        await check(extremes);
        await fc.assert(fc.asyncProperty(fc.array(arbitrary, { minLength: 2, maxLength: 8 }), check), {
          numRuns: RUNS,
        });
      });
    }

    for (const { type, values } of INVALID_VALUES) {
      test(`${describeType(type)} refuses what is not of the type, before a database sees it`, () => {
        const codec = open.engine.dialect.codec(type);
        for (const value of values) {
          let error: unknown;
          try {
            codec.encode(value);
          } catch (caught) {
            error = caught;
          }
          expect(isTesseraeError(error, "VALUE_INVALID"), `${typeof value} ${String(value)}`).toBe(true);
          expect((error as Error).message).toMatch(/^Expected /);
        }
      });
    }

    test("big whole numbers in JSON keep every digit in the database's own text", async () => {
      const kind = VALUE_KINDS.find(({ type }) => type.kind === "json") as ValueKind;
      const table = tableOf(kind);
      const value = { big: 123456789012345678901234567890n, small: 5n, list: [-(2n ** 64n)] };
      await table.fill([value]);
      const raw = await open.column(`select value from ${tableName(VALUE_KINDS.indexOf(kind))}`);
      expect(String(raw[0])).toContain("123456789012345678901234567890");
      expect(await table.read()).toEqual([{ ...value, small: 5 }]);
    });
  });
});
