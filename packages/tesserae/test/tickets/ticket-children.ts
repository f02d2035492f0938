/** Processes that take ids or change the ticket servers, and the ids that they wrote. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { onTestFinished } from "vitest";
import type { TicketWork } from "./ticket-work.child.ts";

export interface TicketChild {
  readonly process: ChildProcessByStdio<null, Readable, null>;
  /** What it printed, as far as it has. */
  readonly output: () => string;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** Ends with the test, whatever becomes of it: also a process that was stopped. */
export function startTicketWork(work: TicketWork): TicketChild {
  const child = spawn(
    process.execPath,
    [
      "--conditions=tesserae-source",
      "--disable-warning=ExperimentalWarning",
      join(import.meta.dirname, "ticket-work.child.ts"),
      JSON.stringify(work),
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  onTestFinished(() => void child.kill("SIGKILL"));
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  const ended = once(child, "close").then(([code, signal]) => ({ code, signal }));
  return { process: child, output: () => text, ended };
}

/** Files of ids in a folder that goes with the test. */
export class IdFiles {
  readonly #folder = mkdtempSync(join(tmpdir(), "tesserae-ids-"));
  readonly #files: string[] = [];

  constructor() {
    onTestFinished(() => rmSync(this.#folder, { recursive: true, force: true }));
  }

  add(): string {
    const file = join(this.#folder, `${this.#files.length}`);
    this.#files.push(file);
    return file;
  }

  /** So far, of one file or of all. An id whose writing a kill cut off was used by nobody. */
  ids(files: readonly string[] = this.#files): BigInt64Array {
    const parts = files.map((file) => {
      const bytes = readTolerantly(file);
      return new BigInt64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.length & ~7)));
    });
    const all = new BigInt64Array(parts.reduce((sum, { length }) => sum + length, 0));
    let position = 0;
    for (const part of parts) {
      all.set(part, position);
      position += part.length;
    }
    return all;
  }
}

function readTolerantly(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}

/** The first id that is there twice. */
export function firstDuplicate(ids: BigInt64Array): bigint | undefined {
  const sorted = ids.toSorted();
  for (let index = 1; index < sorted.length; index++)
    if (sorted[index] === sorted[index - 1]) return sorted[index];
  return undefined;
}

/** Waits for what a process does, by looking. */
export async function until(condition: () => boolean | Promise<boolean>, patienceMs = 60_000): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Waited ${patienceMs} ms for ${condition}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
