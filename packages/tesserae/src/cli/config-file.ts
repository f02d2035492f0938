/** Finds and loads `tesserae.config.ts`: a module whose default export is what `federate()` takes. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { TesseraeError } from "../base/errors.ts";
import type { FederationConfig } from "../configuration.ts";
import { type Federation, federate } from "../federation.ts";

const NAMES = ["tesserae.config.ts", "tesserae.config.mts", "tesserae.config.js", "tesserae.config.mjs"];

/** `path` as given on the command line, or the first of the usual names in this folder. */
export async function loadConfig(path: string | undefined): Promise<FederationConfig> {
  const file =
    path === undefined ? NAMES.map((name) => resolve(name)).find((name) => existsSync(name)) : resolve(path);
  if (file === undefined || !existsSync(file)) {
    throw new TesseraeError(
      "CONFIG_FILE_MISSING",
      `There is no ${path ?? "tesserae.config.ts"} in this folder. Write one with "tesserae init", or name it with --config.`,
    );
  }
  const module = (await import(pathToFileURL(file).href)) as { default?: unknown };
  const config =
    typeof module.default === "function" ? await (module.default as () => unknown)() : module.default;
  if (typeof config === "object" && config !== null && "schema" in config && "main" in config)
    return config as FederationConfig;
  throw new TesseraeError(
    "CONFIG_INVALID",
    `${file} does not export a configuration. Write: export default { schema, main: "…" }.`,
  );
}

/** Runs `body` on the federation of the configuration, and closes it. */
export async function withFederation<T>(
  path: string | undefined,
  body: (federation: Federation) => Promise<T>,
): Promise<T> {
  const federation = await federate(await loadConfig(path));
  try {
    return await body(federation as unknown as Federation);
  } finally {
    await federation.close();
  }
}
