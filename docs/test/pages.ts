/** The Markdown pages of the workspace, and what the tests need of them: blocks of code, links, headings. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

export const workspace = resolve(import.meta.dirname, "../..");

export interface CodeBlock {
  readonly language: string;
  /** The words after the language: `no-run`, `run`, `file=schema.ts`. */
  readonly words: readonly string[];
  /** The line of the page on which the block's first line is, from 1. */
  readonly line: number;
  readonly code: string;
}

export interface Page {
  /** From the workspace's root. */
  readonly path: string;
  readonly text: string;
}

/** Every Markdown page that is part of the project, also those not committed yet. */
export function findPages(): Page[] {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"];
  const paths = execFileSync("git", args, { cwd: workspace, encoding: "utf8" }).split("\n");
  return [...new Set(paths)]
    .filter((path) => path !== "")
    .sort()
    .flatMap((path) => {
      try {
        return [{ path, text: readFileSync(join(workspace, path), "utf8") }];
      } catch {
        // Git still lists a page that was deleted and not committed.
        return [];
      }
    });
}

export function readCodeBlocks(text: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  const lines = text.split("\n");
  for (let index = 0; index < lines.length; index += 1) {
    const opening = /^\s*(`{3,}|~{3,})\s*(\S*)\s*(.*)$/.exec(lines[index] ?? "");
    if (opening === null) continue;
    const [, fence = "", language = "", words = ""] = opening;
    const first = index + 1;
    index = first;
    while (index < lines.length && !(lines[index] ?? "").trim().startsWith(fence)) index += 1;
    blocks.push({
      language,
      words: words.split(/\s+/).filter((word) => word !== ""),
      line: first + 1,
      code: lines.slice(first, index).join("\n"),
    });
  }
  return blocks;
}

/** A page without its code, with the same lines. */
export function withoutCode(text: string): string {
  let fence: string | undefined;
  return text
    .split("\n")
    .map((line) => {
      const mark = /^\s*(`{3,}|~{3,})/.exec(line)?.[1];
      if (fence === undefined && mark !== undefined) {
        fence = mark;
        return "";
      }
      if (fence === undefined) return line.replace(/`[^`]*`/g, (code) => code.replace(/[[\]()]/g, " "));
      if (line.trim().startsWith(fence)) fence = undefined;
      return "";
    })
    .join("\n");
}

/** The anchors of a page's headings, as GitHub makes them. */
export function readAnchors(text: string): Set<string> {
  const anchors = new Set<string>();
  const seen = new Map<string, number>();
  let inCode = false;
  for (const line of text.split("\n")) {
    if (/^\s*(`{3,}|~{3,})/.test(line)) inCode = !inCode;
    const heading = inCode ? undefined : /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, "")
      .replaceAll(" ", "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  for (const [, id] of text.matchAll(/<a\s+(?:id|name)="([^"]+)"/g)) if (id !== undefined) anchors.add(id);
  return anchors;
}
