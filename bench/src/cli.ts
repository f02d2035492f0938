/** `npm run bench -- NAME [--quick] [--json]`. Exit codes: 0 measured, 1 failed, 2 wrongly called. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Bench, runBench } from "./harness.ts";
import { formatTable } from "./report.ts";

const benches = join(import.meta.dirname, "benches");
const results = join(import.meta.dirname, "../results");

function listNames(): string[] {
  return readdirSync(benches, { withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => entry.name.slice(0, -".ts".length))
    .sort();
}

function usage(problem: string): number {
  process.stderr.write(
    `${problem}\nUsage: npm run bench -- NAME [--quick] [--json]\nNames: ${listNames().join(", ") || "none yet"}\n`,
  );
  return 2;
}

async function main(): Promise<number> {
  const options = { quick: { type: "boolean" }, json: { type: "boolean" } } as const;
  let parsed: ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ options, allowPositionals: true });
  } catch (error) {
    return usage((error as Error).message);
  }
  const { values, positionals } = parsed;
  const [name] = positionals;
  if (name === undefined || positionals.length > 1) return usage("Give the name of one bench.");
  if (!listNames().includes(name)) return usage(`There is no bench "${name}".`);

  const module = (await import(join(benches, `${name}.ts`))) as { default: Bench };
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const result = await runBench(module.default, { quick: values.quick ?? false, say });
  const json = `${JSON.stringify(result, null, 2)}\n`;
  if (!result.quick) {
    mkdirSync(results, { recursive: true });
    writeFileSync(join(results, `${name}.json`), json);
  }
  process.stdout.write(values.json ? json : `${formatTable(result)}\n`);
  return 0;
}

process.exitCode = await main();
