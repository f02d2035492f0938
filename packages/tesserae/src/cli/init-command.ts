/** `tesserae init`: a configuration and a schema to begin with. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TesseraeError } from "../base/errors.ts";

const SCHEMA = `import { bigint, defineSchema, federated, global, text, timestamp } from "tesserae";

// The schema says which cluster a table belongs to: global tables live in main, federated ones on the shard of their key.
export const schema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: bigint().ticket(), name: text(64).unique(), created: timestamp().defaultNow() }),
    notes: federated("user_id", {
      id: bigint().ticket(),
      user_id: bigint(),
      body: text(2000),
      created: timestamp().defaultNow(),
    }, { indexes: [["user_id", "created"]] }),
  },
});
`;

const CONFIG = `import { sqlite } from "tesserae";
import { schema } from "./schema.ts";

// Today one SQLite file plays every cluster. Tomorrow: main: "mysql://app:\${DB_PASSWORD}@db-main/app",
// shards: { 1: "mysql://…", 2: "mysql://…" }. Nothing else changes.
export default {
  schema,
  main: sqlite("app.db"),
};
`;

/** Writes both files into a folder; refuses to overwrite either. Gives their paths. */
export async function init(folder: string): Promise<string[]> {
  const files = [
    { path: join(folder, "schema.ts"), content: SCHEMA },
    { path: join(folder, "tesserae.config.ts"), content: CONFIG },
  ];
  const existing = files.find(({ path }) => existsSync(path));
  if (existing !== undefined)
    throw new TesseraeError("CONFIG_FILE_EXISTS", `${existing.path} exists already. Nothing was written.`);
  for (const { path, content } of files) await writeFile(path, content, { flag: "wx" });
  return files.map(({ path }) => path);
}
