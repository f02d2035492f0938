/** What stands before PostgreSQL shards: a database on the head. */
import { runAsAdmin } from "@tesserae/test-support";
import { type Bare, openBare } from "../bare.ts";
import type { BenchContext } from "../harness.ts";
import type { Shards } from "./dots.ts";

/** A database on the head, made by its administrator and asked by the application's user. */
export async function openHead(
  context: BenchContext,
  { head }: Shards,
  name: string,
  statements: readonly string[],
): Promise<Bare> {
  const url = await head.createDatabase(name);
  await runAsAdmin(head, statements, name);
  const bare = openBare("postgres", url);
  context.onEnd(() => bare.close());
  return bare;
}
