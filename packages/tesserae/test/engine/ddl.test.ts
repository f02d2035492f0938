/** Tables as each engine makes them: every logical type, twice without harm, and every key and check enforced by the database itself. */
import { forEachEngine, type TestEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/base/error-codes.ts";
import type { EngineResult } from "../../src/engine/contract.ts";
import { shardControlTables } from "../../src/engine/control-tables.ts";
import {
  bigint,
  boolean,
  bytes,
  date,
  decimal,
  double,
  int,
  json,
  text,
  timestamp,
  uuid,
} from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import type { TableModel } from "../../src/schema/model.ts";
import { federated, global, reference } from "../../src/schema/table.ts";
import { OpenDatabase } from "./open-database.ts";

const { model } = defineSchema({
  key: bigint(),
  tables: {
    kinds: global({
      id: bigint(),
      small: int().nullable(),
      exact: decimal(9, 6).nullable(),
      wide: decimal(38, 10).nullable(),
      approximate: double().nullable(),
      flag: boolean().nullable(),
      short: text(20).nullable(),
      long: text().nullable(),
      folded: text(20).caseInsensitive().nullable(),
      document: json().nullable(),
      moment: timestamp().nullable(),
      exact_moment: timestamp(6).nullable(),
      day: date().nullable(),
      unique_id: uuid().nullable(),
      few_bytes: bytes(5).nullable(),
      many_bytes: bytes().nullable(),
    }),
    defaults: global({
      id: bigint().autoIncrement(),
      small: int().default(-7),
      large: bigint().default(2n ** 62n),
      exact: decimal(9, 6).default("-1.5"),
      wide: decimal(38, 10).default("-12345678901234567890.5"),
      approximate: double().default(0.1),
      flag: boolean().default(true),
      short: text(20).default('it\'s \\ "x" 😀'),
      moment: timestamp().defaultNow(),
      exact_moment: timestamp(6).defaultNow(),
      fixed_moment: timestamp().default(new Date("1969-12-31T23:59:59.999Z")),
      day: date().default("2024-02-29"),
      unique_id: uuid().default("01234567-89ab-cdef-0123-456789abcdef"),
      few_bytes: bytes(5).default(new Uint8Array([0, 39, 92, 255])),
    }),
    themes: reference({ id: bigint(), label: text(20).unique() }),
    sheets: federated(
      "user_id",
      { id: bigint(), user_id: bigint(), label: text(20) },
      { unique: [["user_id", "label"]], indexes: [["label"]] },
    ),
    dots: federated("user_id", {
      id: bigint(),
      user_id: bigint(),
      sheet_id: bigint().references("sheets").nullable(),
      theme_id: bigint().references("themes").nullable(),
    }),
  },
});

const table = (name: string): TableModel => model.tables.get(name) as TableModel;

async function openSchema(engine: TestEngine): Promise<OpenDatabase> {
  const open = await OpenDatabase.of(engine);
  await open.createTables(...shardControlTables(model.federations.values()), ...model.tables.values());
  return open;
}

/** Inserts logical values. */
function insert(open: OpenDatabase, name: string, values: Record<string, unknown>): Promise<EngineResult> {
  const { dialect } = open.engine;
  const names = Object.keys(values);
  const parameters = names.map((column) => {
    const type = table(name).column.get(column)?.type;
    return values[column] === null || type === undefined ? null : dialect.codec(type).encode(values[column]);
  });
  const columns = names.map((column) => dialect.quote(column)).join(", ");
  return open.run(
    `insert into ${dialect.quote(name)} (${columns}) values (${names.map(() => "?").join(", ")})`,
    parameters,
  );
}

async function readOnly(open: OpenDatabase, name: string): Promise<Record<string, unknown>> {
  const { rows } = await open.run(`select * from ${open.engine.dialect.quote(name)}`);
  expect(rows).toHaveLength(1);
  const decode = (column: string, raw: unknown) =>
    raw === null ? null : open.engine.dialect.codec(table(name).column.get(column)!.type).decode(raw);
  return Object.fromEntries(
    Object.entries(rows[0] ?? {}).map(([column, raw]) => [column, decode(column, raw)]),
  );
}

async function expectRefusal(open: OpenDatabase, code: ErrorCode, work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, "the database took what it should refuse").toBeDefined();
  expect(open.engine.dialect.classify(error).code).toBe(code);
}

forEachEngine((engine) => {
  describe(`tables on ${engine.name}`, () => {
    test("are made with every type, a second time without harm, and listed", async () => {
      await using open = await openSchema(engine);
      const before = await open.column(open.engine.dialect.listTablesSql);
      expect(before).toEqual(
        expect.arrayContaining([...model.tables.keys(), "tesserae_meta", "tesserae_residence_default"]),
      );
      await insert(open, "themes", { id: 1n, label: "dark" });
      await open.createTables(...shardControlTables(model.federations.values()), ...model.tables.values());
      expect(await open.column(open.engine.dialect.listTablesSql)).toEqual(before);
      expect(await open.column("select label from themes")).toEqual(["dark"]);
    });

    test("keep null apart in every type", async () => {
      await using open = await openSchema(engine);
      const values = Object.fromEntries(
        table("kinds").columns.map(({ name }) => [name, name === "id" ? 1n : null]),
      );
      await insert(open, "kinds", values);
      expect(await readOnly(open, "kinds")).toEqual(values);
    });

    test("fill defaults with the logical value", async () => {
      await using open = await openSchema(engine);
      const before = Date.now();
      const { insertId } = await insert(open, "defaults", { small: 3 });
      const { moment, exact_moment, ...rest } = await readOnly(open, "defaults");
      expect(rest).toMatchObject({
        id: 1n,
        small: 3,
        large: 2n ** 62n,
        exact: "-1.500000",
        wide: "-12345678901234567890.5000000000",
        approximate: 0.1,
        flag: true,
        short: 'it\'s \\ "x" 😀',
        fixed_moment: new Date("1969-12-31T23:59:59.999Z"),
        day: "2024-02-29",
        unique_id: "01234567-89ab-cdef-0123-456789abcdef",
      });
      expect([...(rest["few_bytes"] as Uint8Array)]).toEqual([0, 39, 92, 255]);
      if (insertId !== undefined) expect(insertId).toBe(1n);
      // The database's clock and this process's may differ a little, a time zone by more.
      for (const written of [moment as Date, new Date(exact_moment as string)]) {
        expect(Math.abs(written.getTime() - before)).toBeLessThan(60_000);
      }
      expect(exact_moment).toMatch(/\.\d{6}Z$/);
    });

    test("give auto-incremented ids, each once", async () => {
      await using open = await openSchema(engine);
      for (let i = 0; i < 3; i++) await insert(open, "defaults", { small: i });
      await open.run("delete from defaults where small = 2");
      await insert(open, "defaults", { small: 9 });
      expect((await open.column("select id from defaults order by id")).map(String)).toEqual(["1", "2", "4"]);
    });

    test("enforce primary keys, also over several columns", async () => {
      await using open = await openSchema(engine);
      await insert(open, "sheets", { id: 1n, user_id: 1n, label: "a" });
      await insert(open, "sheets", { id: 1n, user_id: 2n, label: "a" });
      await expectRefusal(
        open,
        "CONSTRAINT_UNIQUE",
        insert(open, "sheets", { id: 1n, user_id: 2n, label: "b" }),
      );
      await expectRefusal(
        open,
        "CONSTRAINT_NOT_NULL",
        insert(open, "sheets", { id: null, user_id: 2n, label: "c" }),
      );
      await expectRefusal(open, "CONSTRAINT_NOT_NULL", insert(open, "themes", { id: null, label: "c" }));
      await expectRefusal(open, "CONSTRAINT_NOT_NULL", insert(open, "themes", { label: "c" }));
    });

    test("enforce unique keys, by code point", async () => {
      await using open = await openSchema(engine);
      await insert(open, "themes", { id: 1n, label: "a" });
      await insert(open, "themes", { id: 2n, label: "A" });
      await insert(open, "themes", { id: 3n, label: "a " });
      await insert(open, "themes", { id: 4n, label: "ä" });
      await expectRefusal(open, "CONSTRAINT_UNIQUE", insert(open, "themes", { id: 5n, label: "a" }));
    });

    test("enforce NOT NULL and lengths", async () => {
      await using open = await openSchema(engine);
      await expectRefusal(open, "CONSTRAINT_NOT_NULL", insert(open, "themes", { id: 1n, label: null }));
      // Twenty code points fit, whatever their bytes; a plain SQL prompt meets the same limit.
      await insert(open, "themes", { id: 1n, label: "😀".repeat(20) });
      await expect(
        open.run("insert into themes (id, label) values (2, ?)", ["x".repeat(21)]),
      ).rejects.toThrow();
      expect(await open.column("select label from themes")).toEqual(["😀".repeat(20)]);
    });

    test("refuse JSON that is none", async () => {
      await using open = await openSchema(engine);
      await expect(open.run("insert into kinds (id, document) values (1, '{no')")).rejects.toThrow();
      await insert(open, "kinds", { id: 1n, document: { yes: [1, null, "x"] } });
      expect(await readOnly(open, "kinds")).toMatchObject({ document: { yes: [1, null, "x"] } });
    });

    test("compare without case where a column says so", async () => {
      await using open = await openSchema(engine);
      await insert(open, "kinds", { id: 1n, folded: "Ada", short: "Ada" });
      expect(await open.column("select id from kinds where folded = 'aDA'")).toHaveLength(1);
      expect(await open.column("select id from kinds where short = 'aDA'")).toHaveLength(0);
    });

    test("enforce foreign keys, also those that carry the key", async () => {
      await using open = await openSchema(engine);
      await insert(open, "themes", { id: 1n, label: "dark" });
      await insert(open, "sheets", { id: 1n, user_id: 1n, label: "a" });
      await insert(open, "dots", { id: 1n, user_id: 1n, sheet_id: 1n, theme_id: 1n });
      await insert(open, "dots", { id: 2n, user_id: 1n, sheet_id: null, theme_id: null });
      await expectRefusal(
        open,
        "CONSTRAINT_FOREIGN_KEY",
        insert(open, "dots", { id: 3n, user_id: 2n, sheet_id: 1n }),
      );
      await expectRefusal(
        open,
        "CONSTRAINT_FOREIGN_KEY",
        insert(open, "dots", { id: 3n, user_id: 1n, theme_id: 2n }),
      );
      await expectRefusal(open, "CONSTRAINT_FOREIGN_KEY", open.run("delete from sheets where id = 1"));
      await expectRefusal(open, "CONSTRAINT_FOREIGN_KEY", open.run("delete from themes where id = 1"));
      expect(await open.column("select id from dots")).toHaveLength(2);
    });

    test("are dropped, a second time without harm", async () => {
      await using open = await openSchema(engine);
      for (let i = 0; i < 2; i++) await open.execute(open.engine.dialect.dropTable("dots"));
      expect(await open.column(open.engine.dialect.listTablesSql)).not.toContain("dots");
    });
  });
});
