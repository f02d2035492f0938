import type { DotFederation } from "../federation.ts";
import { samplerName } from "../sample.ts";
import type { User } from "./users.ts";

/** Names of users; or the one who signed up first. */
export type OperatorNames = readonly string[] | "firstUser";

/** Who may see where users live, and move them. */
export class Operators {
  readonly #fed: DotFederation;
  readonly #names: OperatorNames;
  #first: bigint | undefined;

  constructor(fed: DotFederation, names: OperatorNames) {
    this.#fed = fed;
    this.#names = names;
  }

  async includes(user: User): Promise<boolean> {
    if (this.#names !== "firstUser") return this.#names.includes(user.name);
    this.#first ??= await this.#findFirst();
    return user.id === this.#first;
  }

  /** Ids rise, and users stay: whoever was first once is it for good. The sample data's user is nobody. */
  async #findFirst(): Promise<bigint | undefined> {
    const row = await this.#fed.main
      .selectFrom("users")
      .select("id")
      .where("name", "!=", samplerName)
      .orderBy("id")
      .limit(1)
      .executeTakeFirst();
    return row?.id;
  }
}
