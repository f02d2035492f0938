/**
 * What every `npm` command of this workspace does first: install the dependencies if they are missing or not those of the lock file, and find
 * a Node.js that is new enough. Written so that an old Node.js can read it, since that may be the one the shell has.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** With this condition the packages of the workspace are loaded from their sources. */
export const NODE_OPTIONS_OF_SOURCES = [
  "--conditions=tesserae-source",
  "--disable-warning=ExperimentalWarning",
];

const OLDEST_NODE = [22, 18];

/** Who started us; when that one is gone, somebody else is our parent. */
const parent = process.ppid;
const PARENT_CHECK_MS = 500;

/** Ends the process with a message for people, without a stack. */
export function giveUp(message) {
  process.stderr.write(`\n${message}\n`);
  process.exit(1);
}

/** Installs if need be. Quick when there is nothing to do. */
export function ensureInstalled() {
  const difference = differenceFromLock();
  if (difference === undefined) return;
  process.stderr.write(`Installing dependencies (${difference}) …\n`);
  // On an existing folder `npm ci` would take away what other processes of the workspace are using.
  const fresh = !existsSync(join(root, "node_modules", ".package-lock.json"));
  const args = fresh ? ["ci"] : ["install", "--no-save"];
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  const result = npm?.endsWith(".js")
    ? spawnSync(process.execPath, [npm, ...args, ...quiet], { cwd: root, stdio: ["ignore", 2, 2] })
    : spawnSync("npm", [...args, ...quiet], {
        cwd: root,
        stdio: ["ignore", 2, 2],
        shell: process.platform === "win32",
      });
  if (result.status !== 0) {
    giveUp(
      `\`npm ${args.join(" ")}\` failed (see above), so the dependencies are not there. Is the package registry reachable? ` +
        "Run it by hand, then try again.",
    );
  }
}

/** Why the installed packages are not those of the lock file; undefined when they are. */
function differenceFromLock() {
  const installedPath = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installedPath)) return "none are there yet";
  const locked = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(installedPath, "utf8")).packages;
  for (const [path, wanted] of Object.entries(locked)) {
    if (!path.startsWith("node_modules/") && !path.includes("/node_modules/")) continue;
    const present = installed[path];
    if (present === undefined) {
      // A package for another platform is in the lock file and is rightly absent here.
      if (wanted.optional || wanted.devOptional || wanted.peer) continue;
      return `${path} is missing`;
    }
    if (present.version !== wanted.version)
      return `${path} is ${present.version}, the lock file says ${wanted.version}`;
  }
  return undefined;
}

/** The path of a Node.js that runs this workspace. */
export function findNode() {
  const bundled = join(root, "node_modules", ".bin", "node");
  for (const candidate of [bundled, process.execPath]) {
    if (candidate === bundled && !existsSync(bundled)) continue;
    const answer = spawnSync(candidate, ["--version"], { encoding: "utf8" });
    if (answer.status === 0 && isNewEnough(answer.stdout.trim())) return candidate;
  }
  return giveUp(
    `Node.js ${OLDEST_NODE.join(".")} or newer is needed; this is ${process.version}. Install a newer one from https://nodejs.org. ` +
      "(On Linux x64 one comes with the optional dependencies: do not leave those out.)",
  );
}

function isNewEnough(version) {
  const [major, minor] = version.replace(/^v/, "").split(".").map(Number);
  return major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
}

/**
 * Calls back once when npm, or the shell between it and us, is gone: on a signal they end without telling us. Only below npm; who starts a
 * script of ours by hand may leave it to itself.
 */
function onNpmGone(callback) {
  if (process.env.npm_lifecycle_event === undefined) return () => {};
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    callback();
  }, PARENT_CHECK_MS);
  return () => clearInterval(timer);
}

/**
 * Runs a program to its end with our standard streams, passing on the signals we get. Resolves to the exit code; a signal's is 128 and its number.
 * When npm started us and is gone, the program gets SIGTERM.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const { env, stdio } = options;
    const path = `${join(root, "node_modules", ".bin")}:${process.env.PATH}`;
    const child = spawn(command, args, {
      cwd: options.cwd ?? process.cwd(),
      stdio: stdio ?? "inherit",
      env: { ...process.env, PATH: path, ...env },
    });
    const pass = (signal) => {
      // Ctrl-C at a terminal goes to the whole group, the child has it already; twice would mean «at once».
      if (signal === "SIGINT" && process.stdin.isTTY) return;
      child.kill(signal);
    };
    const signals = ["SIGTERM", "SIGINT", "SIGHUP"];
    for (const signal of signals) process.on(signal, pass);
    const forgetNpm = onNpmGone(() => child.kill("SIGTERM"));
    const finish = (code) => {
      forgetNpm();
      for (const signal of signals) process.removeListener(signal, pass);
      resolve(code);
    };
    child.on("error", (error) => {
      process.stderr.write(`${command} could not be started: ${error.message}\n`);
      finish(127);
    });
    child.on("exit", (code, signal) => finish(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}
