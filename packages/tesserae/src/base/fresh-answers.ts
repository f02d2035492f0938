/**
 * Answers to questions that were put after they were asked for, shared by all who ask meanwhile: for each name at most one question is under way, and one more is
 * agreed upon for those who came too late for it. Who must know what is true now may not take an answer whose question was older, and a question of its own for each
 * of them would be a flood just when many ask.
 */
interface UnderWay<T> {
  readonly ended: Promise<unknown>;
  next: Promise<T> | undefined;
}

export class FreshAnswers<T> {
  readonly #underWay = new Map<string, UnderWay<T>>();

  ask(name: string, put: () => Promise<T>): Promise<T> {
    const running = this.#underWay.get(name);
    if (running === undefined) return this.#begin(name, put);
    running.next ??= running.ended.then(() => this.#begin(name, put));
    return running.next;
  }

  #begin(name: string, put: () => Promise<T>): Promise<T> {
    const result = put();
    const ended = result.then(
      () => this.#end(name, underWay),
      () => this.#end(name, underWay),
    );
    const underWay: UnderWay<T> = { ended, next: undefined };
    this.#underWay.set(name, underWay);
    return result;
  }

  #end(name: string, underWay: UnderWay<T>): void {
    // The next one takes the place; who asks before it begins may still join it.
    if (underWay.next === undefined) this.#underWay.delete(name);
  }
}
