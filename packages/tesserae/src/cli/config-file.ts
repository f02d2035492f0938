/** Finds and loads `tesserae.config.ts`: a module whose default export is what `federate()` takes. */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import type { FederationConfig } from "../configuration.ts";
import { redactUrl } from "../engine/address.ts";
import { type Federation, federate } from "../federation.ts";
import { nearestPackageType } from "./package-type.ts";

/** In the order in which they are looked for. */
export const CONFIG_NAMES = [
  "tesserae.config.ts",
  "tesserae.config.mts",
  "tesserae.config.js",
  "tesserae.config.mjs",
] as const;

/**
 * `path` as given on the command line, or the first of the usual names in this folder. The process goes to the file's folder first: a path in the
 * configuration means the same file from wherever the command is called.
 */
export async function loadConfig(path: string | undefined): Promise<FederationConfig> {
  const file =
    path === undefined
      ? CONFIG_NAMES.map((name) => resolve(name)).find((name) => existsSync(name))
      : resolve(path);
  if (file === undefined || !existsSync(file)) {
    throw new TesseraeError(
      "CONFIG_FILE_MISSING",
      `There is no ${path ?? "tesserae.config.ts"} in this folder. Write one with "tesserae init", or name it with --config.`,
    );
  }
  process.chdir(dirname(file));
  const config = await importDefault(file);
  if (typeof config === "object" && config !== null && "schema" in config && "main" in config)
    return config as FederationConfig;
  throw new TesseraeError(
    "CONFIG_INVALID",
    `${file} does not export a configuration. Write: export default { schema, main: "…" }.`,
  );
}

/** What the file exports, or what the function that it exports returns. CONFIG_INVALID when the file cannot be loaded. */
async function importDefault(file: string): Promise<unknown> {
  try {
    const module = (await import(pathToFileURL(file).href)) as { default?: unknown };
    return typeof module.default === "function" ? await (module.default as () => unknown)() : module.default;
  } catch (error) {
    if (isTesseraeError(error)) throw error;
    throw new TesseraeError("CONFIG_INVALID", `${file} cannot be loaded. ${reasonOf(error, file)}`, {
      cause: error,
    });
  }
}

function reasonOf(error: unknown, file: string): string {
  if (!(error instanceof Error)) return redactUrl(String(error));
  // Of a syntax error Node tells the place in the first line of the stack, and nowhere else.
  const place = /^(file:\/\/\S+:\d+|\/\S+:\d+)$/m.exec(error.stack?.split("\n", 1)[0] ?? "")?.[1];
  const reason = `${error.name}: ${redactUrl(error.message).split("\n", 1)[0]}${place === undefined ? "" : ` (${place})`}`;
  const advice = adviceFor(error, file);
  return advice === undefined ? reason : `${reason.replace(/\.?$/, ".")} ${advice}`;
}

function adviceFor(error: Error, file: string): string | undefined {
  if (/Cannot find package 'tesserae'/.test(error.message)) return "Run: npm install tesserae kysely";
  const nearest = nearestPackageType(dirname(file));
  const readAsCommonJs = nearest?.type === "commonjs" && !/\.m[jt]s$/.test(file);
  if (!readAsCommonJs || !/\b(import|export|module)\b/i.test(error.message)) return undefined;
  return `${nearest.path} says "type": "commonjs", and a configuration is an ES module. Run: npm pkg set type=module, or name the files .mts.`;
}

/** Runs `body` on the federation of the configuration, and closes it. */
export async function withFederation<T>(
  path: string | undefined,
  body: (federation: Federation, config: FederationConfig) => Promise<T>,
): Promise<T> {
  const config = await loadConfig(path);
  const federation = await federate(config);
  try {
    return await body(federation as unknown as Federation, config);
  } finally {
    await federation.close();
  }
}
