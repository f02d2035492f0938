/**
 * Readers who wait until a replica has what they wish for. While there are any, all healthy members are asked how far they are, one question each at a time and a
 * millisecond apart; the first that has it will do.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ReplicaMember } from "./member.ts";
import type { Primary } from "./primary.ts";
import type { Wish } from "./wish.ts";

/** Between two questions to the members. */
const STEP_MS = 1;

interface Waiter {
  readonly wish: Wish;
  readonly end: (arrived: boolean) => void;
}

export class WishWaiters {
  readonly #members: readonly ReplicaMember[];
  readonly #primary: Primary;
  readonly #waiters = new Set<Waiter>();
  #polling = false;
  #vouching = false;
  #closed = false;

  constructor(members: readonly ReplicaMember[], primary: Primary) {
    this.#members = members;
    this.#primary = primary;
  }

  /** False after `timeoutMs`, or at the close. */
  async waitFor(wish: Wish, timeoutMs: number): Promise<boolean> {
    if (this.#closed) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter: Waiter = { wish, end: resolve };
    this.#waiters.add(waiter);
    const timer = setTimeout(() => resolve(false), timeoutMs);
    if (!this.#polling) void this.#poll();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    }
  }

  /** Ends the waits of those whose wish is granted by what is known now. */
  settle(): void {
    for (const { wish, end } of [...this.#waiters]) {
      const granted = this.#members.some(
        ({ isHealthy, term }) => isHealthy && term !== undefined && wish.isGrantedBy(term),
      );
      if (granted) end(true);
    }
  }

  close(): void {
    this.#closed = true;
    for (const { end } of this.#waiters) end(false);
  }

  async #poll(): Promise<void> {
    this.#polling = true;
    while (this.#waiters.size > 0 && !this.#closed) {
      const healthy = this.#members.filter(({ isHealthy }) => isHealthy);
      // The first that answers counts: another one may hang.
      if (healthy.length > 0) await Promise.race(healthy.map((member) => this.#check(member)));
      this.#vouch(healthy);
      await sleep(STEP_MS);
    }
    this.#polling = false;
  }

  async #check(member: ReplicaMember): Promise<void> {
    await member.check();
    this.settle();
  }

  /** Where a member has more than the primary's last answer, the next one tells whether it is more of the same log. */
  #vouch(members: readonly ReplicaMember[]): void {
    const isWaitedFor = ({ term }: ReplicaMember) =>
      term !== undefined && [...this.#waiters].some(({ wish }) => wish.isOnlyUnvouched(term));
    if (this.#vouching || !members.some(isWaitedFor)) return;
    this.#vouching = true;
    const heard = () => {
      this.#vouching = false;
      this.settle();
    };
    this.#primary.askPosition().then(heard, heard);
  }
}
