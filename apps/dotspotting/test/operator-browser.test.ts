import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openBrowser, whyNoBrowser } from "./browser.ts";
import { openFreshSite, type Site } from "./site.ts";

const reason = whyNoBrowser();

describe.skipIf(reason !== undefined)(
  `the operator's page in a browser${reason ? ` (left out: ${reason})` : ""}`,
  () => {
    let site: Site;
    let browser: Browser;

    beforeAll(async () => {
      site = await openFreshSite("sqlite", { sharded: true, operators: ["ada"] });
      browser = await openBrowser();
    }, 60_000);

    afterAll(async () => {
      await browser?.close();
      await site?.close();
      expect(site.errors).toEqual([]);
    });

    it("shows how far a move is, and its end, without being loaded again", { timeout: 60_000 }, async () => {
      const page = await browser.newPage({ baseURL: site.address, viewport: { width: 390, height: 844 } });
      const complaints: string[] = [];
      page.on("pageerror", (error) => complaints.push(error.message));
      page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
      await page.goto("/signup");
      await page.getByLabel("Name").fill("ada");
      await page.getByLabel("Password").fill("a long walk home");
      await page.getByRole("button", { name: "Sign up" }).click();
      await page.waitForURL("**/upload");
      const file = ["lat,lon", ...Array.from({ length: 1_500 }, (_, row) => `${row % 90},${row % 180}`)].join(
        "\n",
      );
      await page
        .getByLabel("File", { exact: true })
        .setInputFiles({ name: "a.csv", mimeType: "text/csv", buffer: Buffer.from(file) });
      await page.getByRole("button", { name: "Upload" }).click();
      await page.waitForURL(/\/s\/\d+$/);

      await page.getByRole("link", { name: "Operator" }).click();
      await page.getByRole("heading", { name: "Where users live" }).waitFor();
      await page.evaluate("globalThis.sameDocument = true");
      const row = page.locator("tr[data-live]");
      const cells = () => row.locator("td").allInnerTexts();
      expect((await cells()).slice(0, 5)).toEqual(["1", "1,500", "1", "1", "active"]);
      await page.getByLabel("Pace of the move of ada").selectOption("1000");
      await page.getByRole("button", { name: "Move ada" }).click();
      const bar = page.getByLabel("Progress of the move");
      await expect
        .poll(() => bar.getAttribute("value").then(Number), { timeout: 20_000 })
        .toBeGreaterThan(10);
      expect(await page.locator("[data-move-text]").innerText()).toMatch(
        /^Copies (dots|texts): [\d,]+ of 3,001 rows/,
      );
      expect((await cells())[4]).toBe("moving");
      await page.getByRole("button", { name: "Undo" }).waitFor({ timeout: 20_000 });
      expect((await cells()).slice(0, 5)).toEqual(["1", "1,500", "2", "2", "active"]);
      await page.getByText("1 user 100 %").waitFor();
      expect(await page.locator(".shard").allInnerTexts()).toEqual([
        expect.stringContaining("0 users"),
        expect.stringContaining("1 user"),
      ]);
      // Nothing on the page is wider than it.
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);
      expect(await page.evaluate("globalThis.sameDocument")).toBe(true);
      expect(complaints).toEqual([]);
      await page.close();
    });
  },
);
