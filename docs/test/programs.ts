/**
 * Makes programs of the pages' TypeScript. The blocks of one page form one program, in order; a block that says `no-run` is checked behind what comes
 * before it, in a scope of its own, and not run; one that says `file=NAME` becomes that file. Every line keeps its number, so that an error's line is the page's.
 */
import type { CodeBlock } from "./pages.ts";

export interface Program {
  /** The file's name in the page's folder. */
  readonly name: string;
  readonly source: string;
  readonly runs: boolean;
}

export function makePrograms(blocks: readonly CodeBlock[]): Program[] {
  const typescript = blocks.filter(({ language }) => language === "ts" || language === "typescript");
  const programs: Program[] = [];
  const soFar: CodeBlock[] = [];
  for (const block of typescript) {
    const file = block.words.find((word) => word.startsWith("file="))?.slice("file=".length);
    if (file !== undefined)
      programs.push({ name: file, source: onItsLine(block.code, block.line), runs: false });
    else if (block.words.includes("no-run")) {
      programs.push({ name: `line-${block.line}.ts`, source: join(soFar, block), runs: false });
    } else soFar.push(block);
  }
  if (soFar.length > 0) programs.push({ name: "page.ts", source: join(soFar), runs: true });
  return programs;
}

function onItsLine(code: string, line: number): string {
  return "\n".repeat(line - 1) + code;
}

/** The blocks on their lines, their imports together on the first one; the last block, if given, in a scope of its own. */
function join(blocks: readonly CodeBlock[], scoped?: CodeBlock): string {
  const imports = new ImportList();
  let source = "";
  let line = 1;
  for (const block of scoped === undefined ? blocks : [...blocks, scoped]) {
    const body = imports.takeFrom(block.code);
    source += "\n".repeat(block.line - line);
    source += block === scoped ? `{ ${body.replace(/^export /gm, "")}\n}` : body;
    line = block.line + body.split("\n").length - 1 + (block === scoped ? 1 : 0);
  }
  // A page begins with a heading, so that its first line is free. Without an export a file would be a script.
  return `${imports.toString()} export {};${source}`;
}

const IMPORT =
  /^import\s+(?:(type)\s+)?(?:([\w$*][\w$*\s,]*?)?(?:\{([^}]*)\})?\s*from\s+)?(["'][^"'\n]+["']);?[ \t]*(?:\/\/.*)?$/gm;

/** Several blocks of a page may import the same name; a program may only once. */
class ImportList {
  readonly #named = new Map<string, Set<string>>();
  readonly #others = new Set<string>();

  /** Takes the imports out of a block and leaves its lines where they are. */
  takeFrom(code: string): string {
    return code.replace(
      IMPORT,
      (statement: string, type?: string, start?: string, names?: string, from = "") => {
        const lead = start?.replace(/,\s*$/, "").trim() ?? "";
        if (lead !== "" || names === undefined)
          this.#others.add(lead === "" ? `import ${from};` : `import ${type ?? ""} ${lead} from ${from};`);
        for (const name of names?.split(",") ?? []) {
          if (name.trim() === "") continue;
          const list = this.#named.get(from) ?? new Set();
          list.add(type === undefined ? name.trim() : `type ${name.trim()}`);
          this.#named.set(from, list);
        }
        return statement.replace(/[^\n]/g, "");
      },
    );
  }

  toString(): string {
    const named = [...this.#named].map(([from, names]) => {
      const values = [...names].filter(
        (name) => !(name.startsWith("type ") && names.has(name.slice("type ".length))),
      );
      return `import { ${values.join(", ")} } from ${from};`;
    });
    return [...this.#others, ...named].join(" ");
  }
}
