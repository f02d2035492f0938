/** A chaos process as the test holds it: asked by messages, stopped, continued and killed by signals. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { ChildAnswer, ChildEvent, ChildQuestion, ChildSettings } from "./chaos-messages.ts";

/** An answer, or the error that the process had. */
export class ChildError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export class ChaosProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<
    number,
    { resolve(result: unknown): void; reject(error: Error): void; verb: string }
  >();
  readonly #ready: Promise<void>;
  readonly #ended: Promise<void>;
  readonly #points: string[] = [];
  #pointSeen = Promise.withResolvers<void>();
  #questions = 0;
  #gone = false;

  constructor(settings: ChildSettings) {
    this.name = settings.name;
    this.#child = fork(join(import.meta.dirname, "chaos.child.ts"), [JSON.stringify(settings)], {
      execArgv: ["--conditions=tesserae-source", "--disable-warning=ExperimentalWarning"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const ready = Promise.withResolvers<void>();
    this.#ready = ready.promise;
    this.#ready.catch(() => {});
    this.#child.on("message", (message: ChildAnswer | ChildEvent) => {
      if ("event" in message) {
        if (message.event === "ready") ready.resolve();
        else this.#seePoint(message.point);
      } else this.#answer(message);
    });
    const exited = new Promise<string>((resolve) => {
      this.#child.once("exit", (code, signal) => resolve(signal ?? `${code}`));
    });
    // What it has told before its end may come after the news of its end.
    const silent = new Promise<void>((resolve) => this.#child.once("disconnect", () => resolve()));
    this.#ended = Promise.all([exited, silent]).then(([how]) => {
      this.#gone = true;
      const error = new ChildError("GONE", `${this.name} ended (${how})`);
      ready.reject(error);
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
  }

  get isGone(): boolean {
    return this.#gone;
  }

  /** Resolves when the process has ended. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  async ready(): Promise<this> {
    await this.#ready;
    return this;
  }

  /** Rejects with a ChildError: of the code that the process had, or GONE. */
  ask<T = unknown>(question: ChildQuestion): Promise<T> {
    if (this.#gone) return Promise.reject(new ChildError("GONE", `${this.name} has ended`));
    this.#questions += 1;
    const number = this.#questions;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(number, {
        resolve: resolve as (result: unknown) => void,
        reject,
        verb: question.verb,
      });
      // The process may end between our asking and its hearing; its end rejects what is waiting.
      this.#child.send({ number, question }, () => {});
    });
  }

  /** What it was asked and has not answered. */
  get unanswered(): string[] {
    return [...this.#waiting.values()].map(({ verb }) => verb);
  }

  /** Resolves when the mover of this process has come to the point of its order. It is stopped or killed just after. */
  async reached(): Promise<string> {
    while (this.#points.length === 0) {
      await Promise.race([this.#pointSeen.promise, this.#ended]);
      if (this.#gone && this.#points.length === 0) throw new ChildError("GONE", `${this.name} ended`);
    }
    return this.#points.shift() as string;
  }

  /** What was reached too late for the order it belongs to is not taken for the next one's. */
  forgetPoint(): void {
    this.#points.length = 0;
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#gone) this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#ended;
  }

  #answer({ number, result, error }: ChildAnswer): void {
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new ChildError(error.code, error.message));
  }

  #seePoint(point: string): void {
    this.#points.push(point);
    this.#pointSeen.resolve();
    this.#pointSeen = Promise.withResolvers();
  }
}
