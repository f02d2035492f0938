/** A question that was put together and is asked when its answer is: awaited, or streamed. */
import { TesseraeError } from "../../base/errors.ts";
import type { GatheredRow } from "./analytical-engine.ts";

/**
 * Each `await`, `execute()` and `stream()` asks anew.
 *
 * @example
 * ```ts
 * for await (const row of fed.gather("select user_id, count(*) as dots from dots group by user_id").stream()) console.log(row);
 * ```
 */
export class Gathering<Row> implements PromiseLike<Row[]> {
  readonly #ask: () => AsyncGenerator<GatheredRow[]>;
  readonly #resultRowsMax: number;

  constructor(ask: () => AsyncGenerator<GatheredRow[]>, resultRowsMax: number) {
    this.#ask = ask;
    this.#resultRowsMax = resultRowsMax;
  }

  /** All rows of the answer. GATHER_TOO_LARGE for more than `resultRowsMax`. */
  async execute(): Promise<Row[]> {
    const all: Row[] = [];
    for await (const rows of this.#ask()) {
      if (all.length + rows.length > this.#resultRowsMax)
        throw new TesseraeError(
          "GATHER_TOO_LARGE",
          `The answer has more than ${this.#resultRowsMax} rows. Take them from stream(), or raise resultRowsMax.`,
          { operation: "gather" },
        );
      for (const row of rows) all.push(row as Row);
    }
    return all;
  }

  /** The answer's rows as they come: the whole is never held. Leaving the loop frees everything. */
  async *stream(): AsyncGenerator<Row> {
    for await (const rows of this.#ask()) yield* rows as Row[];
  }

  // biome-ignore lint/suspicious/noThenProperty: fed.gather(…) is awaited as any other call is, and streamed where it is too long for that.
  then<A = Row[], B = never>(
    onDone?: ((rows: Row[]) => A | PromiseLike<A>) | null,
    onFailed?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.execute().then(onDone, onFailed);
  }
}
