/** An answer with its text. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  /** Where a redirect leads. */
  readonly location: string;
}

/** Somebody with a browser without JavaScript: keeps cookies, sends forms with the tokens it finds in them, follows no redirect. */
export class Visitor {
  readonly cookies = new Map<string, string>();
  readonly #address: string;

  constructor(address: string) {
    this.#address = address;
  }

  async send(path: string, init: RequestInit = {}): Promise<Answer> {
    const headers = new Headers(init.headers);
    if (this.cookies.size > 0)
      headers.set("Cookie", [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; "));
    const response = await fetch(this.#address + path, { ...init, headers, redirect: "manual" });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie) as unknown as [string, string, string];
      if (/; max-age=0(;|$)/i.test(cookie)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    const text = await response.text();
    return {
      status: response.status,
      text,
      headers: response.headers,
      location: response.headers.get("location") ?? "",
    };
  }

  get(path: string): Promise<Answer> {
    return this.send(path);
  }

  async json<T>(path: string): Promise<T> {
    return JSON.parse((await this.get(path)).text) as T;
  }

  /** Sends a form as the page at `from` would: with its token. */
  async submit(from: string, action: string, fields: Record<string, string> = {}): Promise<Answer> {
    const token = tokenOf((await this.get(from)).text);
    return this.post(action, { token, ...fields });
  }

  post(action: string, fields: Record<string, string>): Promise<Answer> {
    return this.send(action, { method: "POST", body: new URLSearchParams(fields) });
  }

  async signUp(name: string, password = `correct horse ${name.length}`): Promise<Answer> {
    return this.submit("/signup", "/signup", { name, password });
  }

  async upload(
    name: string,
    content: string | Uint8Array<ArrayBuffer>,
    fields: Record<string, string> = {},
  ): Promise<Answer> {
    const form = new FormData();
    form.set("token", tokenOf((await this.get("/upload")).text));
    for (const [field, value] of Object.entries({ visibility: "public", ...fields })) form.set(field, value);
    form.set("file", new File([content], name));
    return this.send("/upload", { method: "POST", body: form });
  }
}

/** The token of a page's first form. */
export function tokenOf(page: string): string {
  return /name="token" value="([^"]+)"/.exec(page)?.[1] ?? "";
}

/** The text of a page, without its tags. */
export function readable(page: string): string {
  return page
    .replace(/<(script|style)[\s\S]*?<\/\1>/g, "")
    .replace(/<[^>]+>/g, " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&amp;", "&")
    .replace(/\s+/g, " ");
}

/** The ids of the dots that a page links to, in its order. */
export function dotIds(page: string): string[] {
  return [...page.matchAll(/href="\/d\/(\d+)"/g)].map((match) => match[1]!);
}
