/** A process of its own that reads users on replicas, each with the token that it is given. Arguments: main's URL and the replicas'. */
import { federate } from "../../src/index.ts";
import { dotsSchema } from "../federation/dots-federation.ts";

export interface TokenQuestion {
  readonly id: number;
  readonly token: string;
  readonly user: string;
}

const [main = "", ...replicas] = process.argv.slice(2);
const fed = await federate({ schema: dotsSchema, main, replicas });

process.on("message", async ({ id, token, user }: TokenQuestion) => {
  try {
    const { name } = await fed.freshness.run(
      () =>
        fed.replica
          .selectFrom("users")
          .select("name")
          .where("id", "=", BigInt(user))
          .executeTakeFirstOrThrow(),
      { token },
    );
    process.send?.({ id, name });
  } catch (error) {
    process.send?.({ id, error: String(error) });
  }
});
process.on("disconnect", () => void fed.close());
