/** Links between the pages lead somewhere. Those to other sites are not followed: a test needs no network. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { findPages, readAnchors, withoutCode, workspace } from "./pages.ts";

function brokenLinks(path: string, text: string): string[] {
  const prose = withoutCode(text);
  const targets = [
    ...[...prose.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)].map((match) => match[1] ?? ""),
    ...[...prose.matchAll(/^\s*\[[^\]]+\]:\s+(\S+)/gm)].map((match) => match[1] ?? ""),
  ];
  return targets.flatMap((target) => {
    if (/^[a-z][a-z\d+.-]*:/i.test(target)) return [];
    const [file = "", anchor] = decodeURIComponent(target).split("#");
    const linked = file === "" ? join(workspace, path) : normalize(join(workspace, dirname(path), file));
    if (!existsSync(linked)) return [`${path}: ${target} does not exist`];
    if (anchor === undefined || !linked.endsWith(".md") || statSync(linked).isDirectory()) return [];
    return readAnchors(readFileSync(linked, "utf8")).has(anchor)
      ? []
      : [`${path}: ${target} has no such heading`];
  });
}

test("links between pages lead to pages and headings that exist", () => {
  expect(findPages().flatMap(({ path, text }) => brokenLinks(path, text))).toEqual([]);
});
