import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createUser, findUserByName, type User } from "./accounts/users.ts";
import type { DotFederation } from "./federation.ts";
import { deleteSheet } from "./sheets/delete-sheet.ts";
import { importSheet } from "./sheets/import-sheet.ts";

const folder = new URL("../sample/", import.meta.url);
export const samplerName = "sampler";

const samples = [
  { file: "zip-codes.csv", label: "ZIP codes of Vermont" },
  { file: "airports.csv", label: "Airports of the United States" },
  { file: "earthquakes.geojson", label: "A week of earthquakes, magnitude 4.5 and more" },
] as const;

/**
 * On the first start, when nobody has signed up yet, makes the user `sampler` with a few sheets of real places. A start that
 * was interrupted is made good by the next one. Nobody can log in as `sampler`: its password is thrown away.
 */
export async function importSamples(fed: DotFederation): Promise<number> {
  const user = (await findUserByName(fed, samplerName)) ?? (await firstUser(fed));
  if (!user) return 0;
  let imported = 0;
  for (const sample of samples) if (await importSample(fed, user, sample)) imported++;
  return imported;
}

async function firstUser(fed: DotFederation): Promise<User | undefined> {
  const anybody = await fed.main.selectFrom("users").select("id").limit(1).executeTakeFirst();
  if (anybody) return undefined;
  return createUser(fed, samplerName, randomBytes(24).toString("base64url"));
}

async function importSample(
  fed: DotFederation,
  user: User,
  { file, label }: (typeof samples)[number],
): Promise<boolean> {
  const path = new URL(file, folder);
  const fingerprint = createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
  const there = await fed.main
    .selectFrom("sheets_lookup")
    .select(["id", "state", "fingerprint"])
    .where("user_id", "=", user.id)
    .where("label", "=", label)
    .execute();
  if (there.some((sheet) => sheet.fingerprint === fingerprint)) return false;
  for (const sheet of there) if (sheet.state === "importing") await deleteSheet(fed, user.id, sheet.id);
  const request = { userId: user.id, fileName: file, label, visibility: "public", badRows: "keep" } as const;
  await importSheet(fed, request, createReadStream(path));
  return true;
}
