/** `tesserae init`: a configuration and a schema to begin with. */
import { existsSync, statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { TesseraeError } from "../base/errors.ts";
import { CONFIG_NAMES } from "./config-file.ts";
import { nearestPackageType } from "./package-type.ts";

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
import { schema } from "./SCHEMA_FILE";

// Today one SQLite file plays every cluster. Tomorrow: main: "mysql://app:\${DB_PASSWORD}@db-main/app",
// shards: { 1: "mysql://…", 2: "mysql://…" }. Nothing else changes.
export default {
  schema,
  main: sqlite("app.db"),
};
`;

export interface Written {
  /** The files, as paths from here. */
  readonly paths: readonly string[];
  /** Why they are called as they are, where that is not what one expects. */
  readonly remark: string | undefined;
}

/** Writes both files into a folder, which is made if need be; refuses to overwrite either. */
export async function init(folder: string): Promise<Written> {
  if (existsSync(folder) && !statSync(folder).isDirectory())
    throw new TesseraeError("CONFIG_FILE_EXISTS", `${folder} is a file, not a folder. Nothing was written.`);
  const { extension, remark } = moduleExtension(folder);
  const schemaFile = `schema${extension}`;
  const files = [
    { path: join(folder, schemaFile), content: SCHEMA },
    {
      path: join(folder, `tesserae.config${extension}`),
      content: CONFIG.replace("SCHEMA_FILE", schemaFile),
    },
  ];
  const existing = [...files.map(({ path }) => path), ...CONFIG_NAMES.map((name) => join(folder, name))].find(
    (path) => existsSync(path),
  );
  if (existing !== undefined)
    throw new TesseraeError("CONFIG_FILE_EXISTS", `${existing} exists already. Nothing was written.`);
  await mkdir(folder, { recursive: true });
  for (const { path, content } of files) await writeFile(path, content, { flag: "wx" });
  return { paths: files.map(({ path }) => path), remark };
}

/** In a package that is not of the type `module` a file must say by its name that it is an ES module. */
function moduleExtension(folder: string): { extension: ".ts" | ".mts"; remark: string | undefined } {
  const nearest = nearestPackageType(resolve(folder));
  if (nearest === undefined || nearest.type === "module") return { extension: ".ts", remark: undefined };
  const said = nearest.type === undefined ? 'no "type"' : `"type": "${nearest.type}"`;
  return {
    extension: ".mts",
    remark: `${nearest.path} has ${said}, so these are .mts files. For .ts: npm pkg set type=module, and rename them.`,
  };
}
