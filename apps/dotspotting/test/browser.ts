import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";

const executable = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

/** Why there is no browser to test with, or undefined when there is one. */
export function whyNoBrowser(): string | undefined {
  if (existsSync(executable)) return undefined;
  const reason = `there is no Chromium at ${executable}; install it, or name it by the variable CHROMIUM`;
  if (process.env["CI"] === "true")
    throw new Error(`The application cannot be tested in a browser: ${reason}.`);
  return reason;
}

/** Starts Chromium without a window and without any traffic of its own. The map's WebGL is drawn by the processor. */
export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: executable,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--use-angle=swiftshader",
      "--enable-unsafe-swiftshader",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** What the page's map has drawn, once it has come to rest: dots in sight, and the circles they are drawn as. */
export async function drawnOn(page: Page): Promise<{ dots: number; circles: number }> {
  const map = page.locator(".map[data-dots-drawn]").first();
  await map.waitFor({ timeout: 30_000 });
  const drawn = async (name: string) => Number(await map.getAttribute(`data-${name}-drawn`));
  return { dots: await drawn("dots"), circles: await drawn("circles") };
}
