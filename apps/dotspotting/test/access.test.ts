import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mebibyte, openFreshSite, type Site } from "./site.ts";
import { readable, tokenOf, Visitor } from "./visitor.ts";

let site: Site;

beforeAll(async () => {
  site = await openFreshSite("sqlite", { uploadBytesMax: mebibyte });
});

afterAll(async () => {
  await site.close();
  expect(site.errors).toEqual([]);
});

const visitor = () => new Visitor(site.address);

describe("signing up and logging in", () => {
  it("takes a name once, and says what is wrong with others", async () => {
    const first = visitor();
    expect((await first.signUp("grace")).status).toBe(303);
    expect(readable((await first.get("/")).text)).toContain("Log out");
    const second = await visitor().signUp("GRACE ");
    expect([second.status, readable(second.text)]).toEqual([422, expect.stringContaining("taken already")]);
    const bad = await visitor().submit("/signup", "/signup", { name: "x y", password: "long enough it is" });
    expect([bad.status, readable(bad.text)]).toEqual([422, expect.stringContaining("A name has 2 to 32")]);
    const short = await visitor().submit("/signup", "/signup", { name: "hedy", password: "short" });
    expect([short.status, readable(short.text)]).toEqual([422, expect.stringContaining("at least 10")]);
  });

  it("lets two people who want one name at the same moment not both have it", async () => {
    const answers = await Promise.all([1, 2, 3].map(() => visitor().signUp("contested")));
    expect(answers.map((answer) => answer.status).sort()).toEqual([303, 422, 422]);
  });

  it("logs in with the right password, and brings back to where one was", async () => {
    await visitor().signUp("lise", "the right password");
    const browser = visitor();
    const toUpload = await browser.get("/upload");
    expect(toUpload.location).toBe("/login?next=%2Fupload");
    const wrong = await browser.submit(toUpload.location, "/login", {
      name: "lise",
      password: "the wrong password",
    });
    expect([wrong.status, readable(wrong.text)]).toEqual([
      422,
      expect.stringContaining("nobody with this name and password"),
    ]);
    const unknown = await browser.submit("/login", "/login", {
      name: "nobody",
      password: "the wrong password",
    });
    expect(readable(unknown.text)).toContain("nobody with this name and password");
    const before = new Map(browser.cookies);
    const right = await browser.submit("/login", "/login", {
      name: " Lise",
      password: "the right password",
      next: "/upload",
    });
    expect([right.status, right.location]).toEqual([303, "/upload"]);
    expect(browser.cookies).not.toEqual(before);
    await browser.submit("/", "/logout");
    expect((await browser.get("/upload")).location).toBe("/login?next=%2Fupload");
  });

  it("has its cookie where scripts and other sites cannot use it", async () => {
    const { headers } = await visitor().get("/login");
    expect(headers.get("set-cookie")).toMatch(
      /^dotspotting=[^;]+; Max-Age=2592000; Path=\/; HttpOnly; SameSite=Lax$/,
    );
    const secure = await openFreshSite("sqlite", { origin: "https://dots.example" });
    const answer = await new Visitor(secure.address).get("/login");
    expect(answer.headers.get("set-cookie")).toMatch(
      /^__Host-dotspotting=[^;]+; Max-Age=2592000; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    );
    expect(answer.headers.get("strict-transport-security")).toBe("max-age=31536000");
    await secure.close();
  });

  it("takes no forged cookie", async () => {
    const browser = visitor();
    await browser.signUp("forged");
    const cookie = browser.cookies.get("dotspotting")!;
    const [id, , issued, signature] = cookie.split(".");
    browser.cookies.set("dotspotting", [id, "1", issued, signature].join("."));
    expect((await browser.get("/upload")).status).toBe(303);
  });

  it("slows down who guesses", async () => {
    await visitor().signUp("guessed", "the right password");
    const browser = visitor();
    const token = tokenOf((await browser.get("/login")).text);
    const attempt = (password: string) => browser.post("/login", { token, name: "guessed", password });
    const statuses = await Promise.all(
      Array.from({ length: 12 }, async (_, n) => (await attempt(`guess number ${n}`)).status),
    );
    expect(statuses.filter((status) => status === 422)).toHaveLength(10);
    const right = await attempt("the right password");
    expect([right.status, Number(right.headers.get("retry-after")) > 0]).toEqual([429, true]);
  });
});

describe("forms", () => {
  const forms = [
    "/signup",
    "/login",
    "/logout",
    "/s/1/visibility",
    "/s/1/keep",
    "/s/1/delete",
    "/operator/moves",
    "/operator/moves/1/abort",
  ];

  it("are refused without a token, and with another session's", async () => {
    const [one, two] = [visitor(), visitor()];
    await one.signUp("form-one");
    await two.signUp("form-two");
    const token = tokenOf((await one.get("/upload")).text);
    for (const form of forms) {
      expect([form, (await two.post(form, {})).status]).toEqual([form, 403]);
      expect([form, (await two.post(form, { token })).status]).toEqual([form, 403]);
      expect([form, (await visitor().post(form, { token })).status]).toEqual([form, 403]);
    }
    const upload = new FormData();
    upload.set("token", token);
    upload.set("file", new File(["lat,lon\n1,2\n"], "a.csv"));
    expect((await two.send("/upload", { method: "POST", body: upload })).status).toBe(403);
    expect((await visitor().send("/upload", { method: "POST", body: upload })).status).toBe(403);
    expect((await one.send("/upload", { method: "POST", body: upload })).status).toBe(303);
  });

  it("are refused when they come from another site, even with the token", async () => {
    const browser = visitor();
    await browser.signUp("crossed");
    const token = tokenOf((await browser.get("/upload")).text);
    const from = (headers: Record<string, string>) =>
      browser.send("/logout", { method: "POST", body: new URLSearchParams({ token }), headers });
    expect((await from({ Origin: "https://evil.example" })).status).toBe(403);
    expect((await from({ Origin: "null" })).status).toBe(403);
    expect((await from({ "Sec-Fetch-Site": "cross-site" })).status).toBe(403);
    expect((await from({ Origin: site.address, "Sec-Fetch-Site": "same-origin" })).status).toBe(303);
  });

  it("are refused when they are no forms, or far too long", async () => {
    const browser = visitor();
    await browser.get("/login");
    const json = {
      method: "POST",
      body: JSON.stringify({ token: "x" }),
      headers: { "Content-Type": "application/json" },
    };
    expect((await browser.send("/login", json)).status).toBe(403);
    expect((await browser.post("/login", { token: "x".repeat(100_000) })).status).toBe(403);
  });
});

describe("uploads", () => {
  it("have a limit, which is told", async () => {
    const browser = visitor();
    await browser.signUp("large");
    const large = `lat,lon\n${"1.000000,2.000000\n".repeat(80_000)}`;
    const announced = await browser.upload("large.csv", large);
    expect([announced.status, readable(announced.text)]).toEqual([
      413,
      expect.stringContaining("larger than 1 MiB"),
    ]);
    // Without a length beforehand it is noticed in the middle, and what was imported until then is taken back.
    const form = new Response(await uploadForm(browser, large));
    const chunked = await browser.send("/upload", {
      method: "POST",
      headers: { "Content-Type": form.headers.get("content-type")! },
      body: form.body,
      duplex: "half",
    } as RequestInit);
    expect([chunked.status, readable(chunked.text)]).toEqual([
      413,
      expect.stringContaining("larger than 1 MiB"),
    ]);
    expect(readable((await browser.get("/u/large")).text)).toContain("0 sheets");
    const fits = await browser.upload("fits.csv", large.slice(0, mebibyte - 10_000));
    expect(fits.status).toBe(303);
  });

  it("are refused without a file", async () => {
    const browser = visitor();
    await browser.signUp("fileless");
    const form = new FormData();
    form.set("token", tokenOf((await browser.get("/upload")).text));
    const answer = await browser.send("/upload", { method: "POST", body: form });
    expect([answer.status, readable(answer.text)]).toEqual([
      400,
      expect.stringContaining("Choose a file first"),
    ]);
    const none = await browser.send("/upload", { method: "POST", body: new URLSearchParams() });
    expect(none.status).toBe(400);
  });

  it("tell a script how far they are, and its owner only", async () => {
    const browser = visitor();
    await browser.signUp("scripted");
    const form = await uploadForm(browser, "lat,lon\n1,2\n1,200\n");
    form.set("import", "0123456789");
    const ordered = new FormData();
    for (const name of ["token", "import", "file"])
      for (const value of form.getAll(name)) ordered.append(name, value);
    const answer = await browser.send("/upload", {
      method: "POST",
      body: ordered,
      headers: { Accept: "application/json" },
    });
    expect(JSON.parse(answer.text)).toEqual({ address: expect.stringMatching(/^\/s\/\d+$/) });
    expect(await browser.json("/imports/0123456789")).toMatchObject({ dots: 1, bad: 1, done: true });
    const other = visitor();
    await other.signUp("curious");
    for (const somebody of [other, visitor()])
      expect((await somebody.get("/imports/0123456789")).status).toBe(404);
  });
});

async function uploadForm(browser: Visitor, content: string): Promise<FormData> {
  const form = new FormData();
  form.set("token", tokenOf((await browser.get("/upload")).text));
  form.set("file", new File([content], "file.csv"));
  return form;
}

describe("every page", () => {
  it("forbids what it does not need", async () => {
    for (const path of ["/", "/login", "/nowhere", "/assets/style.css"]) {
      const { headers, text } = await visitor().get(path);
      expect(headers.get("content-security-policy")).toMatch(
        /default-src 'none'; script-src 'self'; style-src 'self'/,
      );
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(text).not.toMatch(/<script(?![^>]*\bsrc=)|\sstyle="|\son\w+="/);
    }
  });

  it("loads what it needs from here", async () => {
    const browser = visitor();
    const { text } = await browser.get("/");
    const addresses = [...text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map((match) => match[1]!);
    const scripts = [
      "/assets/map-style.js",
      "/assets/maplibre-gl.mjs",
      "/assets/maplibre-gl-worker.mjs",
      "/assets/upload.js",
    ];
    const layers = [
      "land",
      "coast",
      "borders",
      "labels",
      "states",
      "state-labels",
      "counties",
      "county-labels",
    ].map((name) => `/basemap/${name}.geojson`);
    for (const path of new Set([
      ...addresses,
      ...scripts,
      ...layers,
      "/assets/instrument-sans-latin.woff2",
    ])) {
      const answer = await browser.get(path);
      expect([path, answer.status]).toEqual([path, 200]);
      const again = await browser.send(path, {
        headers: { "If-None-Match": answer.headers.get("etag") ?? "" },
      });
      expect([path, again.status]).toEqual([path, 304]);
    }
  });

  it("gives a basemap without anything that crosses the antimeridian", async () => {
    interface Shape {
      readonly coordinates?: unknown;
      readonly geometries?: readonly Shape[];
      readonly features?: readonly { readonly geometry: Shape }[];
    }
    const widest = (shape: Shape): number => {
      const inner = [
        ...(shape.geometries ?? []),
        ...(shape.features ?? []).map((feature) => feature.geometry),
      ];
      return Math.max(0, ...inner.map(widest), widestStep(shape.coordinates));
    };
    for (const layer of ["land", "coast", "borders", "states", "counties"]) {
      expect(widest(await visitor().json<Shape>(`/basemap/${layer}.geojson`))).toBeLessThan(90);
    }
  });
});

/** The longest step between two neighbouring positions, in degrees of longitude. */
function widestStep(coordinates: unknown): number {
  if (!Array.isArray(coordinates) || typeof coordinates[0] === "number") return 0;
  if (typeof coordinates[0]?.[0] !== "number")
    return coordinates.reduce((most, part) => Math.max(most, widestStep(part)), 0);
  const line = coordinates as [number, number][];
  return line.reduce(
    (most, [x], index) => (index === 0 ? 0 : Math.max(most, Math.abs(x - line[index - 1]![0]))),
    0,
  );
}
