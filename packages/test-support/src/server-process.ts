/**
 * One database server as a child process. Three things have to hold: it runs as an unprivileged user when we are root (PostgreSQL
 * refuses root), it dies when this process dies in whatever way, and its folder goes with it.
 *
 * The second and third are a watchdog's work: a shell that waits on a pipe of which this process holds the other end. The pipe closes when
 * this process ends, also by SIGKILL; the shell then kills the server and removes the folder. An orderly `stop` sends it a line first.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** The user a server runs as: another one than ours only if we are root. */
export interface Runner {
  readonly uid: number;
  readonly gid: number;
}

export function findRunner(names: readonly string[]): Runner | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of names) {
    const entry = readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .map((line) => line.split(":"))
      .find((fields) => fields[0] === name);
    if (entry !== undefined) return { uid: Number(entry[2]), gid: Number(entry[3]) };
  }
  throw new Error(
    `None of the users ${names.join(", ")} exists, and a database server should not run as root.`,
  );
}

/** A new folder under the system's temporary folder that belongs to the runner. */
export function makeServerFolder(prefix: string, runner: Runner | undefined): string {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  if (runner !== undefined) chownSync(folder, runner.uid, runner.gid);
  return folder;
}

/** A port that nobody listens on now. Somebody may take it before we do; whoever starts a server tries again then. */
export async function findFreePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("The probe has no port.");
  return address.port;
}

/** Runs a set-up command to its end as the runner; its output is in the error if it fails. */
export async function runToEnd(
  command: string,
  args: readonly string[],
  runner: Runner | undefined,
): Promise<void> {
  try {
    await promisify(execFile)(command, args, { ...runner, cwd: "/", env: environment() });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} failed:\n${stdout ?? ""}${stderr ?? ""}`, { cause: error });
  }
}

/** Nothing of the caller's environment decides how a server behaves. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: `${process.env.PATH}:/usr/sbin:/usr/bin:/sbin:/bin`, LC_ALL: "C.UTF-8", TZ: "UTC" };
}

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly runner: Runner | undefined;
  /** The signal that ends every process of the server at once, without an orderly shutdown. */
  readonly killSignal: "SIGKILL" | "SIGQUIT";
}

export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #watchdog: ChildProcess;
  readonly #launch: Launch;
  readonly #exited: Promise<void>;

  constructor(launch: Launch) {
    this.#launch = launch;
    const log = openSync(join(launch.folder, "server.log"), "a");
    try {
      this.#child = spawn(launch.command, launch.args, {
        ...launch.runner,
        cwd: launch.folder,
        stdio: ["ignore", log, log],
        env: environment(),
        // A group of its own: Ctrl-C in the terminal goes to us, and we end the server when we have finished with it.
        detached: true,
      });
    } finally {
      closeSync(log);
    }
    this.#exited = new Promise((resolve) => {
      this.#child.once("exit", () => resolve());
      this.#child.once("error", () => resolve());
    });
    this.#watchdog = watch(this.pid, launch);
    this.#child.unref();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  logTail(): string {
    const path = join(this.#launch.folder, "server.log");
    return existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(-25).join("\n") : "";
  }

  /** Sends one signal to the server's processes: all of them, since PostgreSQL's backends leave the group. */
  signalAll(signal: NodeJS.Signals): void {
    if (!this.running) return;
    for (const pid of [this.pid, ...descendantsOf(this.pid)]) {
      try {
        process.kill(pid, signal);
      } catch {
        // It ended between our looking and our calling.
      }
    }
  }

  /** Ends the server with a signal and waits until it is gone; after `patience_ms` it is killed. */
  async end(signal: NodeJS.Signals, patience_ms = 20_000): Promise<void> {
    if (this.running) {
      this.signalAll("SIGCONT");
      process.kill(this.pid, signal);
      const timer = setTimeout(() => this.signalAll("SIGKILL"), patience_ms);
      await this.#exited;
      clearTimeout(timer);
    }
    this.#watchdog.stdin?.end("done\n");
  }
}

/** `$1` the server's process, `$2` the signal, `$3` its folder. `read` fails when the pipe closes without a line: then we have died. */
const WATCHDOG = `
if read -r line && [ "$line" = done ]; then exit 0; fi
kill -s CONT "$1" 2>/dev/null; kill -s "$2" "$1" 2>/dev/null
n=0; while kill -0 "$1" 2>/dev/null && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
kill -s KILL "$1" 2>/dev/null
rm -rf "$3"
`;

function watch(pid: number, launch: Launch): ChildProcess {
  const watchdog = spawn(
    "/bin/sh",
    ["-c", WATCHDOG, "tesserae-watchdog", `${pid}`, launch.killSignal.slice(3), launch.folder],
    {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
      cwd: "/",
    },
  );
  // Neither the shell nor the pipe to it keeps this process alive.
  watchdog.unref();
  (watchdog.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  watchdog.stdin?.on("error", () => {});
  return watchdog;
}

function descendantsOf(root: number): number[] {
  const parents = new Map<number, number>();
  if (existsSync("/proc/self/stat")) {
    for (const name of readdirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
      } catch {
        // It ended meanwhile.
      }
    }
  } else {
    for (const line of execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" }).split("\n")) {
      const [pid, parent] = line.trim().split(/\s+/).map(Number);
      if (pid !== undefined && parent !== undefined) parents.set(pid, parent);
    }
  }
  const found: number[] = [];
  for (let wave = [root]; wave.length > 0; ) {
    wave = [...parents].filter(([, parent]) => wave.includes(parent)).map(([pid]) => pid);
    found.push(...wave);
  }
  return found;
}

/** Tries until the server answers. Raises at once when its process has ended, since nobody will answer then. */
export async function waitUntilReady(
  server: ServerProcess,
  attempt: () => Promise<void>,
  patience_ms = 60_000,
): Promise<void> {
  const deadline = Date.now() + patience_ms;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!server.running)
        throw new Error(`The server ended while it started:\n${server.logTail()}`, { cause: error });
      if (Date.now() > deadline)
        throw new Error(`The server did not answer within ${patience_ms} ms:\n${server.logTail()}`, {
          cause: error,
        });
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}
