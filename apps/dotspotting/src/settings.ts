import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { OperatorNames } from "./accounts/operators.ts";
import { plainUserName } from "./accounts/users.ts";

/** What can be set from outside, all of it by environment variables. docs/dotspotting.md lists them. */
export interface Settings {
  readonly port: number;
  readonly host: string | undefined;
  /** The folder for everything that is kept in files: the embedded database and the secret. */
  readonly dataFolder: string;
  /** The origin people see, such as https://dots.example.org, if a proxy stands in front. */
  readonly origin: string | undefined;
  /** Signs cookies and form tokens. */
  readonly secret: string;
  readonly uploadBytesMax: number;
  readonly sample: boolean;
  /** Who sees the operator's page. */
  readonly operators: OperatorNames;
}

/** The application cannot start like this; the message says what to change. */
export class StartRefused extends Error {
  override readonly name = "StartRefused";
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** `data/` at the top of the workspace, wherever the command was given. */
const usualDataFolder = fileURLToPath(new URL("../../../data", import.meta.url));

export function readDataFolder(environment: Environment): string {
  return resolve(environment["DOTSPOTTING_DATA"] || usualDataFolder);
}

/** Reads the settings; creates the data folder and, on the first start, the secret in it. */
export function readSettings(environment: Environment): Settings {
  const dataFolder = readDataFolder(environment);
  mkdirSync(dataFolder, { recursive: true });
  const origin = environment["DOTSPOTTING_ORIGIN"];
  return {
    port: wholeNumber(environment, "PORT", 8080, 0, 65535),
    host: environment["HOST"] || undefined,
    dataFolder,
    origin: origin ? new URL(origin).origin : undefined,
    secret: environment["DOTSPOTTING_SECRET"]
      ? longEnough(environment["DOTSPOTTING_SECRET"])
      : keptSecret(dataFolder),
    uploadBytesMax: wholeNumber(environment, "DOTSPOTTING_UPLOAD_MIB_MAX", 64, 1, 65536) * 1024 * 1024,
    sample: environment["DOTSPOTTING_SAMPLE"] !== "0",
    operators: readOperators(environment),
  };
}

/**
 * Names with commas or blanks between them. Where nothing is said, the embedded database belongs to who signed up first: it is made by the same start. Of
 * databases that somebody configured nobody is the operator until somebody is named.
 */
function readOperators(environment: Environment): OperatorNames {
  const text = environment["DOTSPOTTING_OPERATORS"];
  if (text === undefined) return environment["DOTSPOTTING_FEDERATION"] ? [] : "firstUser";
  return text
    .split(/[\s,]+/)
    .map(plainUserName)
    .filter((name) => name !== "");
}

function wholeNumber(
  environment: Environment,
  name: string,
  fallback: number,
  min: number,
  max: number,
): number {
  const text = environment[name];
  if (text === undefined || text === "") return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new StartRefused(
      `${name} is ${JSON.stringify(text)}; it must be a whole number from ${min} to ${max}.`,
    );
  }
  return value;
}

function longEnough(secret: string): string {
  if (secret.length < 32) throw new StartRefused("DOTSPOTTING_SECRET must have at least 32 characters.");
  return secret;
}

/** The secret of this installation: made once, readable by its owner only. */
function keptSecret(dataFolder: string): string {
  const file = join(dataFolder, "secret");
  try {
    writeFileSync(file, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return longEnough(readFileSync(file, "utf8").trim());
}
