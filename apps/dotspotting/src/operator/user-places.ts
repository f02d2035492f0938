import { isTesseraeError, type TenantPlace } from "tesserae";
import type { DotFederation } from "../federation.ts";
import { type PagePlace, type PageRequest, placePage } from "../sheets/paging.ts";

/** A user, and where everything of the user's lives. */
export interface UserPlace {
  readonly id: bigint;
  readonly name: string;
  readonly sheets: number;
  readonly dots: number;
  /** Undefined of a user that the directory does not know: somebody took the key out. */
  readonly place: Pick<TenantPlace<bigint>, "shard" | "epoch" | "state"> | undefined;
}

/** A shard, and its share of the users. */
export interface ShardLoad {
  readonly id: number;
  /** Without passwords. */
  readonly address: string;
  readonly isMain: boolean;
  readonly users: number;
  /** It was drained, and takes no new users. */
  readonly isClosed: boolean;
  /** From 0 to 1. */
  readonly share: number;
}

export async function shardLoads(fed: DotFederation): Promise<ShardLoad[]> {
  const [counts, closed] = await Promise.all([fed.tenants.count(), fed.moves.closedShards()]);
  const total = [...counts.values()].reduce((sum, users) => sum + users, 0);
  return fed.status().shards.map(({ id, address, isMain }) => {
    const users = counts.get(id) ?? 0;
    return {
      id,
      address,
      isMain,
      users,
      isClosed: closed.includes(id),
      share: total === 0 ? 0 : users / total,
    };
  });
}

/** A page of the users whose names begin like this, by id, as they signed up. */
export async function userPlaces(
  fed: DotFederation,
  request: PageRequest,
  nameBegins: string,
): Promise<{ place: PagePlace; users: UserPlace[] }> {
  const all = fed.main.selectFrom("users");
  // Text is ordered by code point, and no name has a tilde, which comes after all that names have.
  const found =
    nameBegins === "" ? all : all.where("name", ">=", nameBegins).where("name", "<", `${nameBegins}~`);
  const { total } = await found.select((eb) => eb.fn.countAll().as("total")).executeTakeFirstOrThrow();
  const place = placePage(request, Number(total));
  if (place.count === 0) return { place, users: [] };
  const rows = await found
    .select(["id", "name"])
    .orderBy("id")
    .limit(place.count)
    .offset(place.offset)
    .execute();
  const ids = rows.map(({ id }) => id);
  const [places, sizes] = await Promise.all([placesOf(fed, ids), sizesOf(fed, ids)]);
  const users = rows.map(({ id, name }) => ({
    id,
    name,
    sheets: sizes.get(id)?.sheets ?? 0,
    dots: sizes.get(id)?.dots ?? 0,
    place: places.get(id),
  }));
  return { place, users };
}

export async function namesOf(fed: DotFederation, ids: readonly bigint[]): Promise<Map<bigint, string>> {
  if (ids.length === 0) return new Map();
  const rows = await fed.main.selectFrom("users").select(["id", "name"]).where("id", "in", ids).execute();
  return new Map(rows.map(({ id, name }) => [id, name]));
}

export async function placesOf(
  fed: DotFederation,
  ids: readonly bigint[],
): Promise<Map<bigint, TenantPlace<bigint>>> {
  const places = await Promise.all(ids.map((id) => findPlace(fed, id)));
  return new Map(places.filter((place) => place !== undefined).map((place) => [place.key, place]));
}

async function findPlace(fed: DotFederation, id: bigint): Promise<TenantPlace<bigint> | undefined> {
  try {
    return await fed.tenants.where(id);
  } catch (error) {
    if (isTesseraeError(error, "KEY_UNKNOWN")) return undefined;
    throw error;
  }
}

/** From the lookup alone: no shard is asked. */
async function sizesOf(
  fed: DotFederation,
  ids: readonly bigint[],
): Promise<Map<bigint, { sheets: number; dots: number }>> {
  const rows = await fed.main
    .selectFrom("sheets_lookup")
    .select((eb) => ["user_id", eb.fn.countAll().as("sheets"), eb.fn.sum("dots").as("dots")])
    .where("user_id", "in", ids)
    .where("state", "!=", "deleted")
    .groupBy("user_id")
    .execute();
  return new Map(
    rows.map(({ user_id, sheets, dots }) => [user_id, { sheets: Number(sheets), dots: Number(dots) }]),
  );
}
