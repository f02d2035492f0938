/**
 * What a primary's position was when: the measure of lag. A replica is behind by the age of the oldest sample that it has not applied, counted to the newest
 * sample and not to now: while the primary does not answer, nobody falls behind.
 */
interface Sample {
  readonly position: string;
  readonly atMs: number;
}

/** Beyond it samples are left out whose distance to the next one is less than this share of their age: a lag is exact to three hundredths, and days take little room. */
const SAMPLES_MAX = 1_024;
const RESOLUTION = 1 / 32;

export class PositionHistory {
  readonly #covers: (position: string, wanted: string) => boolean;
  /** Each covers those before it. */
  #samples: Sample[] = [];
  #newestMs = 0;

  constructor(covers: (position: string, wanted: string) => boolean) {
    this.#covers = covers;
  }

  get isEmpty(): boolean {
    return this.#samples.length === 0;
  }

  add(position: string, atMs: number): void {
    const last = this.#samples.at(-1);
    this.#newestMs = atMs;
    if (last?.position === position) return;
    if (last !== undefined && !this.#covers(position, last.position)) {
      // Another server is the primary now, and has not everything of the former one: what it lacks nobody will ever apply.
      this.#samples = this.#samples.filter((sample) => this.#covers(position, sample.position));
    }
    this.#samples.push({ position, atMs });
    if (this.#samples.length > SAMPLES_MAX) this.#thin();
  }

  /** How far behind a server at `position` is; undefined where it has applied none of the samples, so that nobody knows. */
  lagMs(position: string): number | undefined {
    const samples = this.#samples;
    let low = 0;
    let high = samples.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#covers(position, (samples[middle] as Sample).position)) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return undefined;
    const missing = samples[low];
    return missing === undefined ? 0 : this.#newestMs - missing.atMs;
  }

  #thin(): void {
    const kept: Sample[] = [];
    for (const sample of this.#samples.toReversed()) {
      const next = kept.at(-1);
      const ageMs = this.#newestMs - sample.atMs;
      const isFar = next === undefined || next.atMs - sample.atMs >= ageMs * RESOLUTION;
      if (isFar || sample === this.#samples[0]) kept.push(sample);
    }
    this.#samples = kept.reverse();
  }

  clear(): void {
    this.#samples = [];
  }
}
