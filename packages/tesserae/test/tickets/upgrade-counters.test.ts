/** Counters that a library before version 3 of the control tables made, and such a library beside ours. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { upgradeControlTables } from "../../src/directory/control-version.ts";
import {
  controlColumn,
  controlTable,
  metaTable,
  TICKETS_TABLE,
  ticketServerTables,
} from "../../src/engine/control-tables.ts";
import { TableTicketSource } from "../../src/tickets/table-ticket-source.ts";
import { OpenDatabase } from "../engine/open-database.ts";
import { TicketSite } from "./ticket-site.ts";

const oldTable = controlTable(
  TICKETS_TABLE,
  [
    controlColumn("name", { kind: "text", length: 120, caseInsensitive: false }),
    controlColumn("next_id", { kind: "bigint" }),
  ],
  ["name"],
);
const dots = { name: "dots", start: 1n, max: 2n ** 62n };

forEachEngine((engine) => {
  describe(`counters of an older library on ${engine.name}`, () => {
    test("go on where they were, also when the upgrade was cut off between two columns", async () => {
      await using db = await OpenDatabase.of(engine);
      await db.createTables(metaTable(), oldTable);
      await db.run("insert into tesserae_meta (name, value) values ('control_version', '2')");
      await db.run("insert into tesserae_tickets (name, next_id) values ('dots', 4711)");
      const { dialect } = db.engine;
      // Where DDL is transactional a cut-off step leaves nothing.
      if (!dialect.capabilities.transactionalDdl)
        await db.execute([
          dialect.addColumn(
            TICKETS_TABLE,
            controlColumn("step", { kind: "bigint" }, { default: { kind: "value", value: 1n } }),
          ),
        ]);
      expect(await upgradeControlTables(db.database, ticketServerTables())).toBe(2);
      expect(await upgradeControlTables(db.database, ticketServerTables())).toBe(3);
      const source = new TableTicketSource(db.database);
      expect(await source.lease(dots, 10)).toEqual({ first: 4711n, count: 10, step: 1n });
      // A library of before leases beside ours until it is updated.
      await db.run("update tesserae_tickets set next_id = 5000 where name = 'dots'");
      await db.run("insert into tesserae_tickets (name, next_id) values ('sheets', 12)");
      expect(await source.lease(dots, 10)).toMatchObject({ first: 5000n });
      expect(await source.lease({ ...dots, name: "sheets" }, 1)).toMatchObject({ first: 12n });
    });

    test("are at their end for an older library once ticket servers give the ids", async () => {
      await using site = await TicketSite.of(engine, 1);
      const main = await site.open([]);
      await main.schema.apply();
      await main.tickets.next("dots");
      const grown = await site.open(site.tickets);
      await grown.tickets.grow();
      // What such a library reads before it leases: also for sequences that have given no id yet.
      const { rows } = await site.run(site.main, "select name, next_id from tesserae_tickets order by name");
      expect(rows.map(({ name, next_id: next }) => [name, BigInt(next as bigint)])).toEqual(
        ["dots", "sheets", "users"].map((name) => [name, 2n ** 63n - 1n]),
      );
    });
  });
});
