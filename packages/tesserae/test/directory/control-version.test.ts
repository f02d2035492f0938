import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { mainControlTables } from "../../src/directory/control-tables.ts";
import {
  type ControlLayout,
  type ControlStep,
  checkControlVersion,
  upgradeControlTables,
} from "../../src/directory/control-version.ts";
import { CONTROL_VERSION } from "../../src/engine/control-tables.ts";
import { Installation } from "./installation.ts";

forEachEngine((engine) => {
  describe(`versions of the control tables on ${engine.name}`, () => {
    test("none, then this library's; creating again changes nothing", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls);
      expect(await checkControlVersion(here.main)).toBeUndefined();
      expect(await upgradeControlTables(here.main, mainControlTables([here.federation]))).toBeUndefined();
      expect(await checkControlVersion(here.main)).toBe(CONTROL_VERSION);
      expect(await upgradeControlTables(here.main, mainControlTables([here.federation]))).toBe(
        CONTROL_VERSION,
      );
    });

    test("many processes that create at once all succeed", async () => {
      await using databases = await engine.databases(1);
      const all = await Promise.all(Array.from({ length: 4 }, () => Installation.at(databases.urls)));
      const found = await Promise.all(
        all.map((each) => upgradeControlTables(each.main, mainControlTables([each.federation]))),
      );
      expect(found.filter((version) => version === undefined)).toHaveLength(1);
      for (const each of all) await each[Symbol.asyncDispose]();
    });

    test("an older layout is brought forward step by step, each once; the older library then refuses", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls);
      await using other = await Installation.at(databases.urls);
      const tables = mainControlTables([here.federation]);
      await upgradeControlTables(here.main, tables);
      const ran: number[] = [];
      const step = (version: number, sql: string): ControlStep => ({
        version,
        statements: () => {
          ran.push(version);
          return [sql];
        },
      });
      const layout: ControlLayout = {
        version: CONTROL_VERSION + 2,
        steps: [
          step(CONTROL_VERSION + 1, "create table if not exists made_by_step (a integer)"),
          step(CONTROL_VERSION + 2, "insert into made_by_step values (1)"),
        ],
      };
      const found = await Promise.all([
        upgradeControlTables(here.main, tables, layout),
        upgradeControlTables(other.main, tables, layout),
      ]);
      expect(found.toSorted()).toEqual([CONTROL_VERSION, CONTROL_VERSION + 2]);
      expect(ran).toEqual([CONTROL_VERSION + 1, CONTROL_VERSION + 2]);
      expect((await here.control.run("select a from made_by_step", [])).rows).toHaveLength(1);
      await expect(checkControlVersion(here.main)).rejects.toMatchObject({ code: "CONTROL_VERSION_NEWER" });
      await expect(upgradeControlTables(here.main, tables)).rejects.toMatchObject({
        code: "CONTROL_VERSION_NEWER",
      });
      expect(await checkControlVersion(here.main, layout)).toBe(CONTROL_VERSION + 2);
    });

    test("a step that fails leaves the version, and the next try goes on", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls);
      const tables = mainControlTables([here.federation]);
      await upgradeControlTables(here.main, tables);
      const layout = (sql: string): ControlLayout => ({
        version: CONTROL_VERSION + 1,
        steps: [
          {
            version: CONTROL_VERSION + 1,
            statements: () => ["create table if not exists first_half (a integer)", sql],
          },
        ],
      });
      await expect(upgradeControlTables(here.main, tables, layout("create nonsense"))).rejects.toThrow();
      expect(await checkControlVersion(here.main)).toBe(CONTROL_VERSION);
      await upgradeControlTables(
        here.main,
        tables,
        layout("create table if not exists second_half (a integer)"),
      );
      expect(await checkControlVersion(here.main, layout(""))).toBe(CONTROL_VERSION + 1);
      expect((await here.control.run("select a from second_half", [])).rows).toEqual([]);
    });
  });
});
