import { Operators } from "./accounts/operators.ts";
import { Sessions } from "./accounts/session.ts";
import { Throttle } from "./accounts/throttle.ts";
import { Basemap } from "./basemap.ts";
import type { DotFederation } from "./federation.ts";
import { UserMoves } from "./operator/user-moves.ts";
import type { Settings } from "./settings.ts";
import { ImportJobs } from "./sheets/import-jobs.ts";
import type { Services } from "./web/environment.ts";
import { StaticFiles } from "./web/static-files.ts";

const quarterHourMs = 15 * 60_000;

/** Everything the application works with, over a federation that is open. */
export function createServices(
  fed: DotFederation,
  settings: Pick<Settings, "origin" | "uploadBytesMax" | "secret" | "operators">,
  log: Services["log"] = logToConsole,
): Services {
  return {
    fed,
    settings,
    sessions: new Sessions(settings.secret),
    operators: new Operators(fed, settings.operators),
    moves: new UserMoves(fed, log),
    loginsByName: new Throttle({ attemptsMax: 10, windowMs: quarterHourMs }),
    loginsByAddress: new Throttle({ attemptsMax: 100, windowMs: quarterHourMs }),
    signUps: new Throttle({ attemptsMax: 50, windowMs: quarterHourMs }),
    imports: new ImportJobs(),
    basemap: new Basemap(),
    files: new StaticFiles(),
    log,
  };
}

function logToConsole(message: string, error?: unknown): void {
  console.error(new Date().toISOString(), message, error ?? "");
}
