/** The engines' own pipes between two servers: `copy … to stdout` into `copy … from stdin`, and `mariadb-dump` into `mariadb`. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { BenchEngine } from "./bare.ts";

export type PipeEngine = Exclude<BenchEngine, "sqlite">;

/** Copies the rows of one key of a table to the same table in another database, and ends when the target has committed. */
export async function pipe(
  engine: PipeEngine,
  sourceUrl: string,
  targetUrl: string,
  rows: { readonly table: string; readonly where: string },
): Promise<void> {
  const { table, where } = rows;
  if (engine === "postgres")
    return join(
      ["psql", [sourceUrl, "-qc", `copy (select * from ${table} where ${where}) to stdout`]],
      ["psql", [targetUrl, "-qc", `copy ${table} from stdin`]],
    );
  return join(
    [
      "mariadb-dump",
      [
        ...login(sourceUrl),
        "--no-create-info",
        "--skip-triggers",
        "--quick",
        "--single-transaction",
        `--where=${where}`,
        databaseOf(sourceUrl),
        table,
      ],
      passwordOf(sourceUrl),
    ],
    ["mariadb", [...login(targetUrl), databaseOf(targetUrl)], passwordOf(targetUrl)],
  );
}

type Program = readonly [name: string, args: readonly string[], environment?: Record<string, string>];

async function join(from: Program, to: Program): Promise<void> {
  const [source, target] = [from, to].map(([name, args, environment]) =>
    spawn(name, args, { env: { ...process.env, ...environment } }),
  ) as [ReturnType<typeof spawn>, ReturnType<typeof spawn>];
  source.stdout?.pipe(target.stdin as NodeJS.WritableStream);
  let said = "";
  for (const each of [source, target])
    each.stderr?.on("data", (text) => {
      said += text;
    });
  const codes = await Promise.all([once(source, "close"), once(target, "close")]);
  if (codes.some(([code]) => code !== 0)) throw new Error(`The pipe failed: ${said}`);
}

function login(url: string): string[] {
  const { hostname, port, username } = new URL(url);
  return ["-h", hostname, "-P", port, "-u", username, "--protocol=tcp"];
}

/** Not on the command line, where every process of the machine may read it. */
const passwordOf = (url: string) => ({ MYSQL_PWD: decodeURIComponent(new URL(url).password) });
const databaseOf = (url: string) => new URL(url).pathname.slice(1);
