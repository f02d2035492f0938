/** A folder in which the command line is called as a user calls it: in a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const packageFolder = join(import.meta.dirname, "../..");

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ran>;
  /** Resolves when standard output has this text; rejects when the command ends without it. */
  saw(text: string): Promise<void>;
}

export class CliFolder {
  /** Inside the package, so that the configuration's import of "tesserae" finds it. */
  readonly path = mkdtempSync(join(packageFolder, ".tmp-cli-"));

  constructor() {
    this.setPackageType("module");
  }

  setPackageType(type: string): void {
    this.write("package.json", JSON.stringify({ type }));
  }

  write(name: string, content: string): void {
    writeFileSync(join(this.path, name), content);
  }

  run(...args: string[]): Promise<Ran> {
    return this.start(...args).ended;
  }

  start(...args: string[]): Running {
    return this.startProgram(join(packageFolder, "bin/tesserae.js"), ...args);
  }

  startProgram(program: string, ...args: string[]): Running {
    const options = ["--conditions=tesserae-source", "--disable-warning=ExperimentalWarning"];
    const child = spawn(process.execPath, [...options, program, ...args], { cwd: this.path });
    const out = { stdout: "", stderr: "" };
    const waiting: (() => void)[] = [];
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (piece: string) => {
        out[name] += piece;
        for (const look of waiting) look();
      });
    }
    const ended = new Promise<Ran>((resolve) => {
      child.on("close", (code) => resolve({ code: code ?? -1, ...out }));
    });
    const saw = (text: string) =>
      new Promise<void>((resolve, reject) => {
        const look = () => out.stdout.includes(text) && resolve();
        waiting.push(look);
        look();
        void ended.then(({ stdout, stderr }) =>
          reject(new Error(`never said "${text}":\n${stdout}${stderr}`)),
        );
      });
    return { child, ended, saw };
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
