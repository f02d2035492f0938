/**
 * A bounded cache whose hits cost one look into one map. Entries are in two generations: new and newly used ones in the young one; when it is half
 * the limit, it becomes the old one, and what was old and not used since is forgotten. So the entries in use stay, as in an LRU map, without an
 * order to keep at each hit.
 */
export class GenerationCache<K, V extends object> {
  readonly #youngMax: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  /** `limit` entries at most, at least 2. */
  constructor(limit: number) {
    this.#youngMax = Math.max(1, Math.floor(limit / 2));
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: K): V | undefined {
    return this.#young.get(key) ?? this.#rejuvenate(key);
  }

  set(key: K, value: V): void {
    this.#old.delete(key);
    if (this.#young.size >= this.#youngMax && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
  }

  #rejuvenate(key: K): V | undefined {
    const value = this.#old.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }
}
