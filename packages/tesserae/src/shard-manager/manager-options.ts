/** Options that do not exist are refused: a misspelt one would otherwise do nothing, in silence. */
import { TesseraeError } from "../base/errors.ts";

/** CONFIG_INVALID for a name that is none of the known ones. */
export function refuseUnknownOptions(
  options: object,
  known: Readonly<Record<string, true>>,
  operation: string,
): void {
  for (const name of Object.keys(options))
    if (!(name in known))
      throw new TesseraeError(
        "CONFIG_INVALID",
        `${operation} has no option "${name}". Known: ${Object.keys(known).join(", ")}.`,
        { operation },
      );
}
