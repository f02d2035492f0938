/** What the command `tesserae` reads: the same databases and schema as the application's. */
import { readDatabases } from "./src/federation.ts";
import { schema } from "./src/schema.ts";
import { readDataFolder } from "./src/settings.ts";

export default { ...readDatabases(process.env, readDataFolder(process.env)), schema };
