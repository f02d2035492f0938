/** Each row once, while tenants move: by keys where a question names its keys, by moves where it goes to all shards. */
import type { SteadyAnswer, SteadyQuestion, SteadyReads } from "../run/steady-reads.ts";
import { CaughtUpReplicas } from "./caught-up-replicas.ts";
import { SteadyKeys, type SteadyKeysOptions } from "./steady-keys.ts";
import { SteadyMoves, type SteadyMovesOptions } from "./steady-moves.ts";

export type SteadyQuestionsOptions = Omit<SteadyMovesOptions, "replicas"> &
  Omit<SteadyKeysOptions, "federation">;

export class SteadyQuestions implements SteadyReads {
  readonly #byMoves: SteadyReads;
  readonly #byKeys: SteadyReads;
  readonly #isOneShard: boolean;

  constructor(options: SteadyQuestionsOptions) {
    const { federation, shards, keys, following } = options;
    const replicas = new CaughtUpReplicas(federation.name, shards);
    this.#byMoves = new SteadyMoves({ ...options, replicas });
    this.#byKeys = new SteadyKeys({ federation: federation.name, shards, keys, following });
    this.#isOneShard = shards.size === 1;
  }

  begin(question: SteadyQuestion): SteadyAnswer | Promise<SteadyAnswer> {
    // Nothing moves where there is one shard, and its replicas show a moment of it.
    if (this.#isOneShard) return { shards: question.shards, verdict: async () => "right" };
    return (question.narrowed ? this.#byKeys : this.#byMoves).begin(question);
  }
}
