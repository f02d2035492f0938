import { type EngineName, ServerSet, whyUnavailable } from "@tesserae/test-support";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Databases } from "../src/federation.ts";
import { drawnOn, openBrowser, whyNoBrowser } from "./browser.ts";
import { openFreshSite, openSite, type Site } from "./site.ts";

/**
 * The same walk through the application, in a browser, on one embedded database and on main and two shards on three servers of their own. The
 * application's code is the same, to the letter: only what `openSite` is given differs.
 */
const setups: readonly { readonly name: string; readonly engine: EngineName }[] = [
  { name: "one embedded database", engine: "sqlite" },
  { name: "MariaDB, main and two shards on three servers", engine: "mysql" },
  { name: "PostgreSQL, main and two shards on three servers", engine: "postgres" },
];

const noBrowser = whyNoBrowser();

/** 1,203 places in a grid over Europe, and one row that is bad. */
function placesFile(): string {
  const rows = Array.from({ length: 1_203 }, (_, row) => {
    const [latitude, longitude] = [36 + Math.floor(row / 40) * 0.8, -10 + (row % 40) * 1.1];
    return `Place ${row + 1},${latitude.toFixed(2)},${longitude.toFixed(2)},${row % 7}`;
  });
  return ["name,lat,lon,kind", ...rows, "Nowhere,95,10,0"].join("\n");
}

for (const { name, engine } of setups) {
  const reason = noBrowser ?? whyUnavailable(engine);
  describe.skipIf(reason !== undefined)(
    `in a browser, on ${name}${reason ? ` (left out: ${reason})` : ""}`,
    () => {
      const servers = new ServerSet({ durability: "relaxed" });
      let site: Site;
      let browser: Browser;

      beforeAll(async () => {
        site =
          engine === "sqlite"
            ? await openFreshSite(engine)
            : await openSite(await threeServers(servers, engine));
        browser = await openBrowser();
      }, 180_000);

      afterAll(async () => {
        await browser?.close();
        await site?.close();
        await servers.stop();
      });

      it("signs up, uploads, sees the dots on the map, pages, and deletes", {
        timeout: 120_000,
      }, async () => {
        // The processor draws the map: a small one without movements, so that this does not take long.
        const small = { viewport: { width: 900, height: 700 }, reducedMotion: "reduce" } as const;
        const context = await browser.newContext({ baseURL: site.address, ...small });
        const page = await context.newPage();
        const elsewhere: string[] = [];
        const complaints: string[] = [];
        page.on("request", (request) => {
          if (!/^(http:\/\/127\.0\.0\.1:|blob:|data:)/.test(request.url())) elsewhere.push(request.url());
        });
        page.on("pageerror", (error) => complaints.push(error.message));
        page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));

        await signUp(page);
        await uploadAndKeep(page);
        const sheet = page.url();
        expect(await drawnOn(page)).toMatchObject({ dots: 1_203 });
        await zoomIn(page);
        await turnPages(page);
        await openDot(page);
        await seeElsewhere(page, sheet);
        await deleteSheet(page, sheet);

        expect(elsewhere).toEqual([]);
        // The sheet and the dot that are gone answer 404 and 410, which the browser writes down.
        expect(complaints.filter((text) => !/status of (404|410)/.test(text))).toEqual([]);
        expect(site.errors).toEqual([]);
        await context.close();
      });
    },
  );
}

async function threeServers(servers: ServerSet, engine: Exclude<EngineName, "sqlite">): Promise<Databases> {
  const started = await Promise.all([0, 1, 2].map((index) => servers.server(engine, index)));
  const [main, one, two] = (await Promise.all(started.map((server) => server.createDatabase()))) as [
    string,
    string,
    string,
  ];
  return { main, shards: { 1: one, 2: two } };
}

async function signUp(page: Page): Promise<void> {
  await page.goto("/");
  await page.getByRole("link", { name: "Sign up", exact: true }).click();
  await page.getByLabel("Name").fill("walker");
  await page.getByLabel("Password").fill("a long walk home");
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.waitForURL("**/upload");
}

/** The file has a bad row: it is shown, and the rest kept. */
async function uploadAndKeep(page: Page): Promise<void> {
  await page.getByLabel("Title").fill("A grid of places");
  const file = { name: "grid.csv", mimeType: "text/csv", buffer: Buffer.from(placesFile()) };
  await page.getByLabel("File", { exact: true }).setInputFiles(file);
  await page.getByRole("button", { name: "Upload" }).click();
  await page.waitForURL(/\/s\/\d+$/, { timeout: 60_000 });
  await page.getByText("latitude “95” is outside −90 to 90").waitFor();
  await page.getByRole("button", { name: "Keep the 1,203 good rows" }).click();
  await page.getByText("1,203 dots by walker").waitFor();
}

/** Clusters fall apart into more circles when one looks closer. */
async function zoomIn(page: Page): Promise<void> {
  const before = await drawnOn(page);
  expect(before.circles).toBeLessThan(before.dots);
  await page.getByRole("button", { name: "Zoom in" }).click();
  await expect.poll(async () => (await drawnOn(page)).circles, { timeout: 20_000 }).not.toBe(before.circles);
}

async function turnPages(page: Page): Promise<void> {
  const names = () => page.locator(".dots tbody th").allInnerTexts();
  expect(await names()).toHaveLength(50);
  await page.getByRole("link", { name: "Next →" }).click();
  await page.getByRole("link", { name: "Place 51", exact: true }).waitFor();
  await page.getByRole("link", { name: "Page 24", exact: true }).click();
  // 1,203 dots are 24 pages of 50 and three more, which spill over into the last one.
  await page.getByText("Page 24 of 24, 1,203 in all").waitFor();
  expect(await names()).toHaveLength(53);
}

async function openDot(page: Page): Promise<void> {
  await page.getByRole("link", { name: "Place 1203", exact: true }).click();
  await page.getByRole("heading", { name: "Place 1203" }).waitFor();
  await page.getByText("60.00000° N, 7.80000° W").waitFor();
  expect(await drawnOn(page)).toEqual({ dots: 1, circles: 1 });
}

/** The front page and the user's page show it too. */
async function seeElsewhere(page: Page, sheet: string): Promise<void> {
  for (const address of ["/", "/u/walker"]) {
    await page.goto(address);
    await page.getByRole("heading", { name: "A grid of places" }).waitFor();
    expect((await drawnOn(page)).dots).toBe(1_203);
  }
  await page.goto(sheet);
}

async function deleteSheet(page: Page, sheet: string): Promise<void> {
  const dot = await page.locator(".dots tbody th a").first().getAttribute("href");
  await page.getByRole("link", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.getByText("You have no sheets yet").waitFor();
  expect((await page.goto(sheet))?.status()).toBe(404);
  expect((await page.goto(dot!))?.status()).toBe(410);
}
