/**
 * Look-ups of routes that begin after they were asked for, shared by all who ask meanwhile: for each key at most one is under way, and one more is agreed upon
 * for those who came too late for it. Who reads strictly may not take an answer whose question was older than the read, and a look-up of its own for each of them would
 * be a flood just while the key is cut over.
 */
interface UnderWay<T> {
  readonly ended: Promise<unknown>;
  next: Promise<T> | undefined;
}

export class FreshRoutes<T> {
  readonly #underWay = new Map<string, UnderWay<T>>();

  ask(key: string, lookUp: () => Promise<T>): Promise<T> {
    const running = this.#underWay.get(key);
    if (running === undefined) return this.#begin(key, lookUp);
    running.next ??= running.ended.then(() => this.#begin(key, lookUp));
    return running.next;
  }

  #begin(key: string, lookUp: () => Promise<T>): Promise<T> {
    const result = lookUp();
    const ended = result.then(
      () => this.#end(key, underWay),
      () => this.#end(key, underWay),
    );
    const underWay: UnderWay<T> = { ended, next: undefined };
    this.#underWay.set(key, underWay);
    return result;
  }

  #end(key: string, underWay: UnderWay<T>): void {
    // The next one takes the place; who asks before it begins may still join it.
    if (underWay.next === undefined) this.#underWay.delete(key);
  }
}
