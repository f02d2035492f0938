/** What a bench says at its end, as JSON and as a table. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, release, totalmem, type } from "node:os";
import type { Row } from "./measure.ts";

/** What is no ratio: a time, or a quantile of times. */
export interface Figure {
  readonly case: string;
  readonly engine: string;
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

export interface BenchResult {
  readonly name: string;
  readonly about: string;
  readonly quick: boolean;
  readonly machine: {
    readonly cpus: number;
    readonly model: string;
    readonly memory_gib: number;
    readonly node: string;
    readonly os: string;
  };
  /** Packages by name; database engines with their durability. */
  readonly versions: Readonly<Record<string, string>>;
  readonly rounds: number;
  readonly rows: readonly Row[];
  readonly figures?: readonly Figure[] | undefined;
  /** What the run found on this machine, in sentences. */
  readonly remarks?: readonly string[] | undefined;
  /** What the figures do not show, in sentences. */
  readonly notComparable: readonly string[];
}

export function describeMachine(): BenchResult["machine"] {
  const processors = cpus();
  return {
    cpus: processors.length,
    model: processors[0]?.model.trim() ?? "unknown",
    memory_gib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    os: `${type()} ${release()}`,
  };
}

/** Versions of the packages that the figures depend on. */
export function packageVersions(): Record<string, string> {
  const find = createRequire(import.meta.url);
  const versions: Record<string, string> = {};
  for (const name of ["tesserae", "kysely", "mysql2", "pg"]) {
    const folders = find.resolve.paths(name) ?? [];
    for (const folder of folders) {
      try {
        versions[name] = JSON.parse(readFileSync(`${folder}/${name}/package.json`, "utf8")).version;
        break;
      } catch {
        // Not in this folder; the next one up may have it.
      }
    }
  }
  return versions;
}

/** Three significant figures below 1000, whole numbers with grouped thousands above. */
export function formatSpeed(value: number): string {
  return value < 1000 ? String(Number(value.toPrecision(3))) : Math.round(value).toLocaleString("en-US");
}

export function formatTable(result: BenchResult): string {
  const header = [
    "case",
    "engine",
    "variant",
    "per second",
    "baseline",
    "per second",
    "ratio",
    "min",
    "max",
    "rounds",
  ];
  const body = result.rows.map((row) => [
    row.case,
    row.engine,
    row.variant,
    `${formatSpeed(row.opsPerSecond.variant)} ${row.unit}`,
    row.baseline,
    formatSpeed(row.opsPerSecond.baseline),
    row.ratio.median.toFixed(3),
    row.ratio.min.toFixed(3),
    row.ratio.max.toFixed(3),
    String(row.rounds),
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...body.map((line) => line[column]?.length ?? 0)),
  );
  const numeric = new Set([3, 5, 6, 7, 8, 9]);
  const align = (line: readonly string[]) =>
    line
      .map((cell, column) =>
        numeric.has(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  const { machine } = result;
  return [
    `${result.name}${result.quick ? " (quick: a smoke test, not a result)" : ""}: ${result.about}`,
    `${machine.cpus} × ${machine.model}, ${machine.memory_gib} GiB, Node.js ${machine.node}, ${machine.os}`,
    Object.entries(result.versions)
      .map(([name, version]) => `${name}: ${version}`)
      .join("; "),
    "",
    align(header),
    ...body.map(align),
    "",
    ...(result.figures ?? []).map(
      (figure) =>
        `${figure.case} (${figure.engine}), ${figure.name}: ${formatSpeed(figure.value)} ${figure.unit}`,
    ),
    ...(result.figures === undefined ? [] : [""]),
    "Ratio: throughput of the variant over the baseline's in the same round; the median of the rounds, the least and the greatest.",
    ...(result.remarks ?? []),
    ...result.notComparable.map((sentence) => `Not comparable: ${sentence}`),
  ].join("\n");
}
