import { join } from "node:path";
import { type Federation, type FederationConfig, federate, sqlite } from "tesserae";
import { schema } from "./schema.ts";
import { type Environment, StartRefused } from "./settings.ts";

/** The federation as this application uses it. */
export type DotFederation = Federation<typeof schema>;

/** Which databases play which cluster: everything of a configuration but the schema. */
export type Databases = Omit<FederationConfig, "schema">;

/**
 * The databases that the environment asks for: `DOTSPOTTING_FEDERATION` as JSON, such as
 * `{"main": "mysql://…", "shards": {"1": "mysql://…", "2": "mysql://…"}}`; without it one embedded database in the data folder,
 * which plays every cluster. This is the only place that knows, and nothing else in the application changes with it.
 */
export function readDatabases(environment: Environment, dataFolder: string): Databases {
  const text = environment["DOTSPOTTING_FEDERATION"];
  if (!text) return { main: sqlite(join(dataFolder, "dots.db")) };
  try {
    return JSON.parse(text) as Databases;
  } catch (error) {
    // Its text may hold passwords: the message must not repeat it.
    throw new StartRefused(
      'DOTSPOTTING_FEDERATION is not JSON. Write {"main": "mysql://…", "shards": {"1": "mysql://…"}}.',
      {
        cause: (error as Error).name,
      },
    );
  }
}

/** Opens the federation and creates what is missing in its databases. */
export async function openFederation(databases: Databases): Promise<DotFederation> {
  const fed = await federate({ ...databases, schema });
  try {
    await fed.schema.apply();
    return fed;
  } catch (error) {
    await fed.close().catch(() => undefined);
    throw error;
  }
}
