import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";

const bootstrap = resolve(import.meta.dirname, "../bootstrap.mjs");

/** A command as `npm start` is: it runs `child` as a program of its own and ends with that one's exit code. */
function startCommand(child: string) {
  const source = `
    const { run } = await import(${JSON.stringify(bootstrap)});
    process.exitCode = await run(process.execPath, ["-e", ${JSON.stringify(child)}]);`;
  return spawn(process.execPath, ["--input-type=module", "-e", source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

describe("a command of the workspace", () => {
  test("ends with the exit code of what it runs", async () => {
    const [code] = await once(startCommand("process.exit(7)"), "exit");
    expect(code).toBe(7);
  });

  test.each(["SIGTERM", "SIGINT"] as const)("passes %s on and waits for an orderly end", async (signal) => {
    const command = startCommand(`
      process.on("${signal}", () => setTimeout(() => process.exit(3), 50));
      setInterval(() => {}, 1000);
      console.log("ready");`);
    await once(command.stdout, "data");
    command.kill(signal);
    const [code] = await once(command, "exit");
    expect(code).toBe(3);
  });

  test("ends with a signal's code when what it runs is killed", async () => {
    const command = startCommand(`process.kill(process.pid, "SIGKILL")`);
    const [code] = await once(command, "exit");
    expect(code).toBe(128 + 9);
  });

  test("stops what it runs when npm is gone", { timeout: 60_000 }, async () => {
    // As npm does it: a shell between, which a signal ends without a word to us.
    const source = `
      const { run } = await import(${JSON.stringify(bootstrap)});
      process.exitCode = await run(process.execPath, ["-e", ${JSON.stringify(`
        process.on("SIGTERM", () => { console.log("stopped"); process.exit(0); });
        setInterval(() => {}, 1000);
        console.log("ready");`)}]);`;
    const shell = spawn("/bin/sh", ["-c", '"$NODE" --input-type=module -e "$SOURCE"; true'], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, NODE: process.execPath, SOURCE: source, npm_lifecycle_event: "start" },
    });
    const lines = createInterface({ input: shell.stdout })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe("ready");
    shell.kill("SIGTERM");
    expect((await lines.next()).value).toBe("stopped");
    // The stream ends when nobody holds it any more: neither the command nor what it ran is left.
    expect((await lines.next()).done).toBe(true);
  });
});
