/** Installs the servers and the browser that the tests need, where we may: as root, or by sudo without a password. */
import { spawnSync } from "node:child_process";
import { findBinary, PACKAGES, type Program } from "./binaries.ts";

const NEEDED: readonly Program[] = [
  "mariadbd",
  "mariadb-install-db",
  "postgres",
  "initdb",
  "pgbouncer",
  "chromium",
];

/** The Debian packages of the programs that are missing. */
export function missingPackages(programs: readonly Program[] = NEEDED): string[] {
  return [
    ...new Set(
      programs.filter((program) => findBinary(program) === undefined).map((program) => PACKAGES[program]),
    ),
  ];
}

/**
 * Installs what is missing with apt-get. Returns the packages that are still missing afterwards, with the reason; an empty list is success.
 * No server that a package would start is started: a `policy-rc.d` says no for as long as the installation runs.
 */
export function installServers(report: (line: string) => void = console.error): {
  missing: string[];
  reason?: string;
} {
  const wanted = missingPackages();
  if (wanted.length === 0) return { missing: [] };
  const reason = installPackages(wanted, report);
  const missing = missingPackages();
  if (missing.length === 0) return { missing };
  return { missing, reason: reason ?? `${missing.join(", ")} did not bring what is needed.` };
}

/** Installs Debian packages in the same way. Gives the reason if it cannot. */
export function installPackages(
  wanted: readonly string[],
  report: (line: string) => void = console.error,
): string | undefined {
  const names = wanted.join(", ");
  const prefix = commandPrefix();
  if (prefix === undefined || findProgram("apt-get") === undefined)
    return `${names} must be installed first (Debian: sudo apt-get install ${wanted.join(" ")}).`;
  report(`Installing ${names} …`);
  const [command = "", ...args] = [...prefix, "/bin/sh", "-c", INSTALL, "install", ...wanted];
  const result = spawnSync(command, args, { stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" });
  if (result.status === 0) return undefined;
  return `apt-get could not install ${names}:\n${result.stderr ?? result.error ?? ""}`;
}

/** A `policy-rc.d` that somebody else wrote is left as it is, and put back. */
const INSTALL = `
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ -e "$policy" ]; then mv "$policy" "$policy.before-tesserae"; fi
restore() { rm -f "$policy"; if [ -e "$policy.before-tesserae" ]; then mv "$policy.before-tesserae" "$policy"; fi; }
trap restore EXIT
printf '#!/bin/sh\\nexit 101\\n' > "$policy"
chmod 755 "$policy"
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@"
`;

function commandPrefix(): string[] | undefined {
  if (process.getuid?.() === 0) return [];
  const sudo = findProgram("sudo");
  if (sudo === undefined) return undefined;
  return spawnSync(sudo, ["-n", "true"], { stdio: "ignore" }).status === 0 ? [sudo, "-n"] : undefined;
}

function findProgram(name: string): string | undefined {
  const found = spawnSync("/bin/sh", ["-c", `command -v ${name}`], { encoding: "utf8" });
  return found.status === 0 ? found.stdout.trim() : undefined;
}
