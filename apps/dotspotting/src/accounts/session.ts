import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** What a visitor's cookie says. Visitors who are not logged in have a session too, since forms need a token. */
export interface Session {
  /** Random; changes when somebody logs in or out. */
  readonly id: string;
  readonly userId: bigint | undefined;
  /** Seconds since 1970. */
  readonly issued: number;
}

export const sessionSecondsMax = 30 * 24 * 3600;

/** Issues and reads signed session cookies and the form tokens that belong to them. */
export class Sessions {
  readonly #secret: string;
  readonly #now: () => number;

  constructor(secret: string, now: () => number = () => Math.floor(Date.now() / 1000)) {
    this.#secret = secret;
    this.#now = now;
  }

  begin(userId?: bigint): Session {
    return { id: randomBytes(16).toString("base64url"), userId, issued: this.#now() };
  }

  /** The cookie's value: `id.user.issued.signature`. */
  seal(session: Session): string {
    const content = [session.id, session.userId ?? "", session.issued].join(".");
    return `${content}.${this.#sign("session", content)}`;
  }

  /** The session of a cookie; undefined if it is none of ours, or too old. */
  open(cookie: string | undefined): Session | undefined {
    const match = /^([\w-]{22})\.(\d{0,19})\.(\d{1,12})\.([\w-]{43})$/.exec(cookie ?? "");
    if (!match) return undefined;
    const [, id, user, issued, signature] = match as unknown as [string, string, string, string, string];
    if (!same(signature, this.#sign("session", [id, user, issued].join(".")))) return undefined;
    const age = this.#now() - Number(issued);
    if (age > sessionSecondsMax || age < -60) return undefined;
    return { id, userId: user === "" ? undefined : BigInt(user), issued: Number(issued) };
  }

  /** What a form must carry to be taken from this session. */
  formToken(session: Session): string {
    return this.#sign("form", session.id);
  }

  formTokenMatches(session: Session, token: unknown): boolean {
    return typeof token === "string" && same(token, this.formToken(session));
  }

  #sign(purpose: string, content: string): string {
    return createHmac("sha256", this.#secret).update(`${purpose}\n${content}`).digest("base64url");
  }
}

function same(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
