/** A temporary folder for examples: outside the workspace, as a user's program is, with the workspace's packages in reach. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { workspace } from "./pages.ts";

const execute = promisify(execFile);

export const TIMEOUT_MS = 120_000;

export class ExampleFolder {
  readonly path = mkdtempSync(join(tmpdir(), "tesserae-docs-"));

  constructor() {
    symlinkSync(join(workspace, "node_modules"), join(this.path, "node_modules"));
    this.write("package.json", JSON.stringify({ type: "module" }));
    const project = {
      extends: join(workspace, "tsconfig.base.json"),
      compilerOptions: {
        noUnusedLocals: false,
        noUnusedParameters: false,
        typeRoots: [join(workspace, "node_modules/@types")],
      },
      include: ["*/**/*.ts"],
      exclude: ["node_modules"],
    };
    this.write("tsconfig.json", JSON.stringify(project));
  }

  write(name: string, content: string): void {
    const file = join(this.path, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  /** Checks the types of everything in the folder. */
  check(): Promise<void> {
    return this.run(join(workspace, "node_modules/.bin/tsc"), ["-p", this.path, "--pretty", "false"], ".");
  }

  /** Runs a program in a folder of this one; its output is the message of the error when it fails. */
  async run(command: string, args: readonly string[], folder: string): Promise<void> {
    const path = `${join(workspace, "node_modules/.bin")}:${process.env.PATH}`;
    const env = { ...process.env, PATH: path, NODE_OPTIONS: "--conditions=tesserae-source" };
    try {
      await execute(command, args, { cwd: join(this.path, folder), env, timeout: TIMEOUT_MS });
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${command} ${args.join(" ")} failed in ${folder}:\n${stdout}${stderr}`);
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
