import { setTimeout as sleep } from "node:timers/promises";
import { whyUnavailable } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ReplicatedSite } from "./replicated-site.ts";
import type { Site } from "./site.ts";
import { walkThroughSite } from "./site-walk.ts";
import { dotIds, readable, tokenOf, Visitor } from "./visitor.ts";

const reason = whyUnavailable("mysql");
const written = "dotspotting-written";
const rows = (count: number) =>
  ["name,lat,lon", ...Array.from({ length: count }, (_, row) => `place ${row + 1},${row},${-row}`)].join(
    "\n",
  );

describe.skipIf(reason !== undefined)(`with replicas${reason ? ` (left out: ${reason})` : ""}`, () => {
  let replicated: ReplicatedSite;
  let site: Site;
  let other: Site;

  beforeAll(async () => {
    replicated = await ReplicatedSite.start();
    site = await replicated.open({ operators: ["ada"] });
    other = await replicated.open();
  }, 60_000);

  afterAll(async () => {
    await replicated?.stop();
    expect([site.errors, other.errors]).toEqual([[], []]);
  });

  // The walk closes what it was given; the servers are this file's.
  walkThroughSite("MariaDB with replicas and ticket servers", () => replicated.open(), [1, 2]);

  /** The same browser at another process. */
  function carriedTo({ address }: Site, browser: Visitor, without?: string): Visitor {
    const same = new Visitor(address);
    for (const [name, value] of browser.cookies) if (name !== without) same.cookies.set(name, value);
    return same;
  }

  async function member(name: string): Promise<Visitor> {
    const browser = new Visitor(site.address);
    expect((await browser.signUp(name)).status).toBe(303);
    return browser;
  }

  /** What three pages and two maps show of a sheet. */
  async function shownOf(browser: Visitor, name: string, sheet: string, label: string) {
    const [front, own] = [
      readable((await browser.get("/")).text),
      readable((await browser.get(`/u/${name}`)).text),
    ];
    const maps = [`${sheet}/dots.geojson`, `/u/${name}/dots.geojson`];
    const onMaps: number[] = [];
    for (const path of maps) onMaps.push((await browser.json<{ features: unknown[] }>(path)).features.length);
    const dots = dotIds((await browser.get(sheet)).text).length;
    return [front.includes(label), own.includes(label), dots, ...onMaps];
  }

  it("shows what somebody has uploaded at once, on another process too, while the replicas stand still", async () => {
    const browser = await member("grace");
    const first = (await browser.upload("first.csv", rows(1), { label: "First" })).location;
    await site.settle();
    // Both processes have read from the replicas before those stop.
    for (const each of [site, other])
      expect(await shownOf(new Visitor(each.address), "grace", first, "First")).toEqual([
        true,
        true,
        1,
        1,
        1,
      ]);
    await replicated.whileReplicasStandStill(async () => {
      const sheet = (await browser.upload("more.csv", rows(3), { label: "Second" })).location;
      const seen = [true, true, 3, 3, 4];
      expect(await shownOf(browser, "grace", sheet, "Second")).toEqual(seen);
      expect(await shownOf(carriedTo(other, browser), "grace", sheet, "Second")).toEqual(seen);
      // Without the cookie it is another visitor: the pages come from replicas, which do not have it yet.
      const unseen = [false, false, 0, 0, 1];
      expect(await shownOf(carriedTo(other, browser, written), "grace", sheet, "Second")).toEqual(unseen);
      expect(await shownOf(new Visitor(site.address), "grace", sheet, "Second")).toEqual(unseen);
    });
    await site.settle();
    expect(await shownOf(new Visitor(other.address), "grace", first, "Second")).toEqual([
      true,
      true,
      1,
      1,
      4,
    ]);
  });

  it("shows it at once while they go on", async () => {
    const browser = await member("henry");
    for (let round = 1; round <= 10; round++) {
      const sheet = (await browser.upload("a.csv", rows(round), { label: `Round ${round} of many` }))
        .location;
      const [front, own, dots, map] = await shownOf(
        carriedTo(other, browser),
        "henry",
        sheet,
        `Round ${round} of many`,
      );
      expect([round, front, own, dots, map]).toEqual([round, true, true, round, round]);
    }
  });

  it("hides at once from everybody what is made private or deleted, although replicas have it still", async () => {
    const browser = await member("iris");
    const sheet = (await browser.upload("a.csv", rows(2), { label: "No longer for you" })).location;
    const [dot] = dotIds((await browser.get(sheet)).text);
    await site.settle();
    await replicated.whileReplicasStandStill(async () => {
      const paths = [sheet, `${sheet}/dots.geojson`, `/d/${dot}`];
      const asked = async () => {
        const stranger = new Visitor(other.address);
        const direct: number[] = [];
        for (const path of paths) direct.push((await stranger.get(path)).status);
        const { features } = await stranger.json<{ features: unknown[] }>("/u/iris/dots.geojson");
        return [...direct, features.length];
      };
      expect(await asked()).toEqual([200, 200, 200, 2]);
      await browser.submit(sheet, `${sheet}/visibility`, { visibility: "private" });
      expect(await asked()).toEqual([404, 404, 404, 0]);
      await browser.submit(`${sheet}/delete`, `${sheet}/delete`);
      expect(await asked()).toEqual([404, 404, 404, 0]);
    });
  });

  it("gives a cookie to those who have written, and to nobody else", async () => {
    const browser = new Visitor(site.address);
    await browser.get("/");
    await browser.get("/signup");
    expect([...browser.cookies.keys()]).toEqual(["dotspotting"]);
    const { headers } = await browser.signUp("jo");
    expect(headers.getSetCookie().find((cookie) => cookie.startsWith(written))).toMatch(
      /^dotspotting-written=f1\.[\w-]{20,200}; Max-Age=60; Path=\/; HttpOnly; SameSite=Lax$/,
    );
    const carried = browser.cookies.get(written);
    expect((await browser.get("/")).headers.getSetCookie()).toEqual([]);
    await browser.upload("a.csv", rows(1));
    expect(browser.cookies.get(written)).not.toBe(carried);
  });

  it("gives it also for an upload that comes in pieces", async () => {
    const browser = await member("kim");
    const carried = browser.cookies.get(written);
    const token = tokenOf((await browser.get("/upload")).text);
    const part = (name: string, text: string) =>
      `--xxPIECESxx\r\nContent-Disposition: form-data; name="${name}\r\n\r\n${text}\r\n`;
    const pieces = [part('token"', token), part('file"; filename="a.csv"', rows(2)), "--xxPIECESxx--\r\n"];
    const encoder = new TextEncoder();
    async function* body(): AsyncGenerator<Uint8Array> {
      for (const piece of pieces) {
        yield encoder.encode(piece);
        // Long enough to arrive by itself: the file then begins with an event of the connection.
        await sleep(100);
      }
    }
    const answer = await browser.send("/upload", {
      method: "POST",
      headers: { "Content-Type": "multipart/form-data; boundary=xxPIECESxx" },
      body: ReadableStream.from(body()),
      duplex: "half",
    } as RequestInit);
    expect([answer.status, browser.cookies.get(written) === carried]).toEqual([303, false]);
  });

  it.each([
    ["nonsense", "%00; drop table"],
    ["cut off", "f1.eyJtYWlu"],
    ["of no position", `f1.${Buffer.from('{"main":"zzz"}').toString("base64url")}`],
    [
      "of a moment that never was",
      `f1.${Buffer.from('{"main":"0-1-999999999","9":"7"}').toString("base64url")}`,
    ],
    ["of another engine", `f1.${Buffer.from('{"main":"FF/11002018"}').toString("base64url")}`],
  ])("takes a cookie that is %s as none, and takes it away", async (_, value) => {
    await site.settle();
    const browser = new Visitor(site.address);
    browser.cookies.set(written, value);
    expect((await browser.get("/")).status).toBe(200);
    expect(readable((await browser.get("/u/grace")).text)).toMatch(/2 public sheets.*Second/);
    const map = await browser.json<{ features: unknown[] }>("/u/grace/dots.geojson");
    expect(map.features).toHaveLength(4);
    expect(browser.cookies.has(written)).toBe(false);
  });

  it("shows the operator the replicas with their lag, and the ticket servers", async () => {
    const ada = await member("ada");
    const { status, text } = await ada.get("/operator");
    const page = readable(text);
    expect(status).toBe(200);
    for (const name of ["main", "shard 1", "shard 2"])
      expect(page).toMatch(new RegExp(`replica 1 of ${name} \\d+ ms Healthy 0 mysql://`));
    expect(page).toMatch(
      /server 1 1 of every 2 Gives ids .*users \d+.* mysql:\S+ server 2 2 of every 2 Gives ids .* mysql:/,
    );
    expect(text).not.toMatch(/mysql:\/\/[^\s@]+:[^*\s@]+@/);
  });

  it("answers every page while the replicas die, and says so to the operator", async () => {
    const lea = await member("lea");
    const ada = new Visitor(site.address);
    expect((await ada.submit("/login", "/login", { name: "ada", password: "correct horse 3" })).status).toBe(
      303,
    );
    const visits = async () => {
      const answers: number[] = [];
      for (let visit = 0; visit < 15; visit++)
        for (const path of ["/", "/u/grace"]) answers.push((await lea.get(path)).status);
      return answers;
    };
    const underWay = Promise.all([visits(), visits()]);
    await Promise.all(replicated.servers.replicas.map((replica) => replica.kill()));
    expect(new Set((await underWay).flat())).toEqual(new Set([200]));
    expect(readable((await ada.get("/operator")).text)).toMatch(/replica 1 of main \S+ (ms )?Down /);
  });
});
