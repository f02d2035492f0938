/** The entry: reads the settings, opens the federation, serves, and stops cleanly. docs/dotspotting.md says what can be set. */
import { isTesseraeError } from "tesserae";
import { openFederation, readDatabases } from "./federation.ts";
import { importSamples } from "./sample.ts";
import { makeOlderSheetsSearchable } from "./search/dot-texts.ts";
import { type RunningServer, startServer } from "./serve.ts";
import { createServices } from "./services.ts";
import { readSettings, type Settings, StartRefused } from "./settings.ts";
import { resumeDeletions } from "./sheets/delete-sheet.ts";
import type { Services } from "./web/environment.ts";

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const fed = await openFederation(readDatabases(process.env, settings.dataFolder));
  try {
    if (settings.sample && (await importSamples(fed)) > 0) console.log("Imported the sample data.");
    await resumeDeletions(fed);
    const services = createServices(fed, settings);
    const server = await listen(services, settings);
    stopOnSignals(server, services);
    services.moves.keepGoing();
    // Beside the requests: what is not searchable yet is not found, and nothing else waits for it.
    makeOlderSheetsSearchable(fed).catch((error: unknown) =>
      services.log("Older sheets could not be made searchable; the next start goes on", error),
    );
    console.log(`Dotspotting: http://localhost:${server.port}`);
    // Made once and kept; made now, the first visitor does not wait for it.
    await services.basemap.layer("land");
  } catch (error) {
    await fed.close();
    throw error;
  }
}

async function listen(services: Services, settings: Settings): Promise<RunningServer> {
  try {
    return await startServer(services, settings);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EADDRINUSE" && code !== "EACCES") throw error;
    const reason = code === "EADDRINUSE" ? "is in use already" : "may not be used";
    throw new StartRefused(`Port ${settings.port} ${reason}. Choose another one: PORT=8081 npm start`, {
      cause: error,
    });
  }
}

function stopOnSignals(server: RunningServer, { moves, fed }: Services): void {
  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) return;
    stopping = true;
    console.log(`${signal}: stopping.`);
    await server.close();
    await moves.close();
    await fed.close();
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      stop(signal).catch((error) => {
        console.error(error);
        process.exit(1);
      });
    });
  }
}

main().catch((error) => {
  const expected =
    error instanceof StartRefused || (isTesseraeError(error) && error.code.startsWith("CONFIG_"));
  console.error(expected ? error.message : error);
  process.exit(1);
});
