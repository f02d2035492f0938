import { isTesseraeError } from "tesserae";
import type { DotFederation } from "../federation.ts";
import { hashPassword, passwordMatches } from "./passwords.ts";

export interface User {
  readonly id: bigint;
  readonly name: string;
  readonly created: Date;
}

/** A name as it is kept: lower case, so that no two names look alike in an address. */
export function plainUserName(name: string): string {
  return name.trim().toLowerCase();
}

/** Why a name cannot be taken; undefined if it can. */
export function userNameProblem(name: string): string | undefined {
  if (/^[a-z0-9][a-z0-9_-]{1,31}$/.test(name)) return undefined;
  return "A name has 2 to 32 letters a–z, digits, hyphens or underscores, and begins with a letter or digit.";
}

/**
 * Signs somebody up; undefined if the name is taken.
 *
 * The key gets its shard before the user gets a row: whoever is in the table can always be served. A crash
 * between leaves a key that nobody has, which does no harm.
 */
export async function createUser(
  fed: DotFederation,
  name: string,
  password: string,
): Promise<User | undefined> {
  if (await findUserByName(fed, name)) return undefined;
  const hash = await hashPassword(password);
  const id = await fed.ids.next("users");
  await fed.tenants.add(id);
  const user = { id, name, created: new Date() };
  try {
    await fed.main
      .insertInto("users")
      .values({ ...user, password: hash })
      .execute();
    return user;
  } catch (error) {
    await fed.tenants.remove(id);
    // Two people may ask for one name at the same moment; the database decides.
    if (isTesseraeError(error) && (await findUserByName(fed, name))) return undefined;
    throw error;
  }
}

export async function findUser(fed: DotFederation, id: bigint): Promise<User | undefined> {
  return fed.main
    .selectFrom("users")
    .select(["id", "name", "created"])
    .where("id", "=", id)
    .executeTakeFirst();
}

export async function findUserByName(fed: DotFederation, name: string): Promise<User | undefined> {
  return fed.main
    .selectFrom("users")
    .select(["id", "name", "created"])
    .where("name", "=", name)
    .executeTakeFirst();
}

/** The names of some users, by id. */
export async function namesOfUsers(
  fed: DotFederation,
  ids: readonly bigint[],
): Promise<ReadonlyMap<bigint, string>> {
  if (ids.length === 0) return new Map();
  const rows = await fed.main.selectFrom("users").select(["id", "name"]).where("id", "in", ids).execute();
  return new Map(rows.map(({ id, name }) => [id, name]));
}

/** The user with this name and password. It takes the same time whether the name or the password is wrong. */
export async function authenticate(
  fed: DotFederation,
  name: string,
  password: string,
): Promise<User | undefined> {
  const row = await fed.main
    .selectFrom("users")
    .select(["id", "name", "created", "password"])
    .where("name", "=", name)
    .executeTakeFirst();
  const matches = await passwordMatches(password, row?.password ?? "");
  if (!row || !matches) return undefined;
  return { id: row.id, name: row.name, created: row.created };
}
