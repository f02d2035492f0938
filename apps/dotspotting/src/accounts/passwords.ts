import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from "node:crypto";

const cost = { N: 2 ** 15, r: 8, p: 1 } as const;
const keyBytes = 32;
const charactersMin = 10;
const charactersMax = 200;

/** Why a password cannot be taken; undefined if it can. */
export function passwordProblem(password: string, name: string): string | undefined {
  const length = Array.from(password).length;
  if (length < charactersMin) return `A password needs at least ${charactersMin} characters.`;
  if (length > charactersMax) return `A password has at most ${charactersMax} characters.`;
  if (new Set(password).size < 4) return "A password needs at least four different characters.";
  if (password.toLowerCase().includes(name.toLowerCase()) && name !== "")
    return "A password must not contain the name.";
  return undefined;
}

/** A password's hash by scrypt, with its own salt and the cost it was made with, so that the cost can be raised later. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const key = await derive(password, salt, keyBytes, cost);
  return ["scrypt", cost.N, cost.r, cost.p, salt.toString("base64url"), key.toString("base64url")].join("$");
}

/** Compares in constant time. A hash that is none matches nothing, and takes as long to say so. */
export async function passwordMatches(password: string, hash: string): Promise<boolean> {
  const [algorithm, n, r, p, salt, key] = hash.split("$");
  const expected = Buffer.from(key ?? "", "base64url");
  if (algorithm !== "scrypt" || expected.length !== keyBytes || !salt) {
    await derive(password, randomBytes(16), keyBytes, cost);
    return false;
  }
  const stored = { N: Number(n), r: Number(r), p: Number(p) };
  return timingSafeEqual(await derive(password, Buffer.from(salt, "base64url"), keyBytes, stored), expected);
}

function derive(password: string, salt: Buffer, bytes: number, options: ScryptOptions): Promise<Buffer> {
  // Two ways to type the same letter must give the same key.
  const normal = password.normalize("NFKC");
  return new Promise((resolve, reject) => {
    scrypt(normal, salt, bytes, { ...options, maxmem: 128 * 1024 * 1024 }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}
