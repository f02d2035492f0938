/** How far an upload is, for the person who waits for it. */
export interface ImportJob {
  readonly userId: bigint;
  readonly bytesTotal: number | undefined;
  bytes: number;
  dots: number;
  bad: number;
  done: boolean;
}

const jobsMax = 1_000;
const perUserMax = 3;

/** The imports of this process, by the token that the uploading page made up. Finished ones are forgotten first come, first gone. */
export class ImportJobs {
  readonly #jobs = new Map<string, ImportJob>();

  /** A new job; undefined if the user has too many under way. */
  begin(token: string, userId: bigint, bytesTotal: number | undefined): ImportJob | undefined {
    let underWay = 0;
    for (const job of this.#jobs.values()) if (job.userId === userId && !job.done) underWay++;
    if (underWay >= perUserMax) return undefined;
    const job: ImportJob = { userId, bytesTotal, bytes: 0, dots: 0, bad: 0, done: false };
    this.#jobs.set(this.#key(token, userId), job);
    if (this.#jobs.size > jobsMax) this.#jobs.delete(this.#oldestDone());
    return job;
  }

  find(token: string, userId: bigint): ImportJob | undefined {
    return this.#jobs.get(this.#key(token, userId));
  }

  /** By user, so that nobody can look at another's job, or take its token. */
  #key(token: string, userId: bigint): string {
    return `${userId} ${token}`;
  }

  #oldestDone(): string {
    for (const [key, job] of this.#jobs) if (job.done) return key;
    return this.#jobs.keys().next().value!;
  }
}
