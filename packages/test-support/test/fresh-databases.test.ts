import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { forEachEngine } from "../src/index.ts";

forEachEngine((engine) => {
  describe(engine.name, () => {
    test("gives databases that nobody else has", async () => {
      const databases = await engine.databases(3);
      expect(new Set(databases.urls).size).toBe(3);
      for (const file of databases.files) new DatabaseSync(file).close();
      await databases.cleanUp();
      for (const file of databases.files) expect(existsSync(dirname(file))).toBe(false);
    });

    // Every SQLite file is its own server.
    if (engine.name === "sqlite") return;

    test("spreads databases over two servers when asked", async () => {
      await using one = await engine.databases(2);
      await using two = await engine.databases(4, { servers: 2 });
      const ports = (urls: readonly string[]) => urls.map((url) => new URL(url).port);
      expect(new Set(ports(one.urls)).size).toBe(1);
      expect(new Set(ports(two.urls)).size).toBe(2);
      expect(ports(two.urls)[0]).toBe(ports(two.urls)[2]);
    });
  });
});
