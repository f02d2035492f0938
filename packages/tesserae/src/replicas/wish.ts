/** A position that a reader wants to see applied, and who is known to have applied it. */
import type { Term } from "./term.ts";

export class Wish {
  readonly position: string;
  /** When the last write was noted that it stands for. */
  readonly sinceMs: number;
  readonly #covers: (position: string, wanted: string) => boolean;
  readonly #granted = new WeakSet<Term>();

  constructor(position: string, sinceMs: number, covers: (position: string, wanted: string) => boolean) {
    this.position = position;
    this.sinceMs = sinceMs;
    this.#covers = covers;
  }

  isGrantedBy(term: Term): boolean {
    if (this.#granted.has(term)) return true;
    if (term.vouched === undefined || !this.isWithin(term.vouched)) return false;
    this.#granted.add(term);
    return true;
  }

  /** It would be granted, if the primary had what the server has. */
  isOnlyUnvouched(term: Term): boolean {
    return !this.isGrantedBy(term) && this.isWithin(term.position);
  }

  isWithin(position: string): boolean {
    return this.#covers(position, this.position);
  }
}
