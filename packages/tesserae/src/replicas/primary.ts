/** The primary that a set of replicas follows: its position, asked when somebody must know it, and from time to time for the measure of lag. */
import { TesseraeError } from "../base/errors.ts";
import { FreshAnswers } from "../base/fresh-answers.ts";
import type { Database, EngineDialect, EngineReplication } from "../engine/contract.ts";
import { PositionHistory } from "./position-history.ts";
import { type ReplicationStatus, StatusQuestion } from "./status-question.ts";

/** As tokens name it: `main`, or a shard's number. */
export type PrimaryName = "main" | `${number}`;

/** `unasked`; `answers`; `down`: it did not answer when it was asked last; `keeps none`: it answers, and has no position. */
export type PrimaryState = "unasked" | "answers" | "down" | "keeps none";

/** A server that applies this primary's log. */
export interface Follower {
  /** Called when a question begins, with what to do with its answer: the end of the primary's log; undefined where it did not tell. */
  heardBefore(): (end: string | undefined) => void;
}

export class Primary {
  readonly name: PrimaryName;
  readonly replication: EngineReplication;
  readonly dialect: EngineDialect;
  readonly history: PositionHistory;
  state: PrimaryState = "unasked";
  readonly #display: string;
  readonly #question: StatusQuestion;
  #identity: string | undefined;
  readonly #followers = new Set<Follower>();
  /** Of its log, by the last answer. */
  #end: string | undefined;
  readonly #watches = new Set<object>();
  readonly #answers = new FreshAnswers<ReplicationStatus>();

  /** `open` gives a pool of one connection. */
  constructor(
    name: PrimaryName,
    replication: EngineReplication,
    dialect: EngineDialect,
    display: string,
    open: () => Database,
  ) {
    this.name = name;
    this.replication = replication;
    this.dialect = dialect;
    this.history = new PositionHistory((position, wanted) => replication.covers(position, wanted));
    this.#display = display;
    this.#question = new StatusQuestion(replication, dialect, display, open);
  }

  /**
   * The position that everything is in which was committed before this call; undefined where the server keeps none. Rejects where it does not answer. All who ask at the
   * same time share one question.
   */
  async askPosition(): Promise<string | undefined> {
    return (await this.#answers.ask("status", () => this.#ask())).position;
  }

  /** The end of its log: no position of its history is behind it. */
  async askEnd(): Promise<string | undefined> {
    const { written, position } = await this.#answers.ask("status", () => this.#ask());
    return written ?? position;
  }

  /** Who hears each answer: what it had applied before the question is in the answer, or in no log that will ever reach it. */
  follow(follower: Follower): void {
    this.#followers.add(follower);
  }

  /** A set of replicas will ask from time to time. What was measured before a pause of all sets says nothing of how far behind their replicas are now. */
  beginWatch(by: object): void {
    if (this.#watches.size === 0) this.history.clear();
    this.#watches.add(by);
  }

  endWatch(by: object): void {
    this.#watches.delete(by);
  }

  /** Whether `position` can be a part of its log, by the last answer. While it does not answer, nobody knows better. */
  vouchesFor(position: string): boolean {
    return (
      this.state !== "answers" || this.#end === undefined || !this.replication.hasParted(position, this.#end)
    );
  }

  /** Whose database it is; undefined where it does not say, or does not answer. */
  async identity(): Promise<string | undefined> {
    if (this.#identity === undefined && this.state === "answers")
      this.#identity = await this.#question.askIdentity().catch(() => undefined);
    return this.#identity;
  }

  async #ask(): Promise<ReplicationStatus> {
    const askedMs = performance.now();
    const hear = [...this.#followers].map((follower) => follower.heardBefore());
    try {
      const status = await this.#question.ask();
      const { position, written, sent, writable } = status;
      if (!writable) throw this.#demoted();
      this.state = position === undefined ? "keeps none" : "answers";
      const sample = sent ?? position;
      if (sample !== undefined) this.history.add(sample, askedMs);
      this.#end = written ?? position;
      for (const compare of hear) compare(this.#end);
      return status;
    } catch (error) {
      this.state = "down";
      for (const compare of hear) compare(undefined);
      throw error;
    }
  }

  /**
   * The server was made a replica, or stands before a promotion, while its connection lived on: it does not have what is written on the next primary. The next question
   * finds that one.
   */
  #demoted(): TesseraeError {
    this.#question.forget();
    return new TesseraeError(
      "SERVER_READ_ONLY",
      `The server that was the primary of ${this.#display} takes no writes any more, so nobody knows the position of what was written.`,
      { operation: "replica position" },
    );
  }

  close(): Promise<void> {
    return this.#question.close();
  }
}
