/**
 * The command line, for operators. Every command reads `tesserae.config.ts`, prints for people or (`--json`) for programs, and says by its exit code
 * what became of it: 0 done, 1 refused or failed, 2 wrong usage, 3 configuration or schema, 4 a database cannot be reached, 130 left by Ctrl-C.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { TesseraeError } from "../base/errors.ts";
import type { DirectoryState } from "../directory/directory-rows.ts";
import {
  FEDERATION_OPTION,
  type Handle,
  onFederation,
  onHandle,
  optionsOf,
  wholeNumber,
} from "./command-context.ts";
import { loadConfig } from "./config-file.ts";
import { init } from "./init-command.ts";
import { addLookups } from "./lookups-command.ts";
import { addMoves } from "./move-commands.ts";
import { EXIT, fail, print, table } from "./output.ts";
import { showStatus } from "./status-command.ts";
import { addTickets } from "./tickets-command.ts";

/** Runs one command line. Sets the process's exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  // Known before the line is parsed: a line that is wrong is answered in JSON, too.
  const json = argv.includes("--json");
  const program = new Command("tesserae")
    .description("A federated database layer: begin on one database, grow to many, change no code.")
    .version(readVersion())
    .option(
      "-c, --config <file>",
      "the configuration; its folder becomes the current one (default: tesserae.config.ts, .mts, .js or .mjs in this folder)",
    )
    .option("--json", "print JSON")
    .showHelpAfterError()
    .exitOverride();
  if (json) program.configureOutput({ writeErr: () => undefined });
  addInit(program);
  addStatus(program);
  addSchema(program);
  addTenants(program);
  addMoves(program);
  addTickets(program);
  addLookups(program);
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    if (!(error instanceof CommanderError)) process.exitCode = fail(json, error);
    else if (error.exitCode === 0) process.exitCode = EXIT.done;
    else process.exitCode = json ? fail(json, usageError(error)) : EXIT.usage;
  }
}

/** Of the package this file is part of; the sources and what is built of them lie at the same depth. */
function readVersion(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

function usageError(error: CommanderError): TesseraeError {
  const said =
    error.code === "commander.help" ? "no command was given" : error.message.replace(/^error: /, "");
  return new TesseraeError(
    "CLI_USAGE",
    `${said.charAt(0).toUpperCase()}${said.slice(1).replace(/\.$/, "")}. See tesserae --help.`,
  );
}

function addInit(program: Command): void {
  program
    .command("init [folder]")
    .description("write a schema and a configuration to begin with")
    .action(async (folder: string | undefined, _options: unknown, command: Command) => {
      const { paths, remark } = await init(folder ?? ".");
      print(optionsOf(command).json === true, { written: paths }, () => [
        ...paths.map((path) => `wrote ${path}`),
        ...(remark === undefined ? [] : [remark]),
        `next: ${folder === undefined ? "" : `"cd ${folder}", then `}"tesserae schema apply"`,
      ]);
    });
}

function addStatus(program: Command): void {
  program
    .command("status")
    .description("what is configured, whether each database answers, and the connection budget")
    .action(async (_options: unknown, command: Command) => {
      const { config, json } = optionsOf(command);
      await showStatus(await loadConfig(config), json === true);
    });
}

function addSchema(program: Command): void {
  const schema = program.command("schema").description("tables and guards");
  schema
    .command("apply")
    .description("create what the schema says, everywhere it belongs")
    .action(async (_options: unknown, command: Command) => {
      await onFederation(command, async (federation) => {
        const { created } = await federation.schema.apply();
        print(optionsOf(command).json === true, { created }, () =>
          created.length === 0
            ? ["everything is there already"]
            : created.map(
                (piece) =>
                  `created ${piece.kind} ${piece.table} on ${piece.shard === undefined ? "main" : `shard ${piece.shard}`}`,
              ),
        );
      });
    });
}

function addTenants(program: Command): void {
  const tenant = program.command("tenant").description("keys and the shards they live on");
  tenant
    .command("add <key>")
    .description("give a key a shard")
    .option(...FEDERATION_OPTION)
    .option("-s, --shard <id>", "this shard instead of the chooser's", wholeNumber)
    .action(async (text: string, options: { shard?: number }, command: Command) => {
      await onHandle(command, async (handle) => {
        const place = await handle.tenants.add(
          handle.keyFromText(text),
          options.shard === undefined ? {} : { shard: options.shard },
        );
        print(optionsOf(command).json === true, { ...place, key: text }, () => [
          `${text} lives on shard ${place.shard}`,
        ]);
      });
    });
  tenant
    .command("where <key>")
    .description("the shard of a key")
    .option(...FEDERATION_OPTION)
    .action(async (text: string, _options: unknown, command: Command) => {
      await onHandle(command, async (handle) => {
        const place = await handle.tenants.where(handle.keyFromText(text));
        print(optionsOf(command).json === true, { ...place, key: text }, () => [whereabouts(text, place)]);
      });
    });
  tenant
    .command("list")
    .description("keys in their order")
    .option(...FEDERATION_OPTION)
    .option("-s, --shard <id>", "of this shard alone", wholeNumber)
    .option("-n, --limit <count>", "how many", wholeNumber, 100)
    .option("-a, --after <key>", "from this key on, without it")
    .action(async (options: { shard?: number; limit: number; after?: string }, command: Command) => {
      await onHandle(command, (handle) => listTenants(handle, options, optionsOf(command).json === true));
    });
  tenant
    .command("ranges")
    .description("ranges of keys that a shard serves as a whole")
    .option(...FEDERATION_OPTION)
    .action(async (_options: unknown, command: Command) => {
      await onHandle(command, (handle) => listRanges(handle, optionsOf(command).json === true));
    });
  tenant
    .command("remove <key>")
    .description("take a key out of the federation")
    .option(...FEDERATION_OPTION)
    .option("--delete-rows", "delete its rows; without this a key that has rows is refused")
    .action(async (text: string, options: { deleteRows?: boolean }, command: Command) => {
      await onHandle(command, async (handle) => {
        await handle.tenants.remove(handle.keyFromText(text), {
          rows: options.deleteRows === true ? "delete" : "refuse",
        });
        print(optionsOf(command).json === true, { key: text, removed: true }, () => [`${text} was removed`]);
      });
    });
}

/** A key that is being taken out, or was, lives nowhere: its row in the directory is what is left of it. */
function whereabouts(
  key: string,
  place: { readonly shard: number; readonly epoch: bigint; readonly state: DirectoryState },
): string {
  if (place.state === "removed") return `${key} was removed; it was on shard ${place.shard}`;
  if (place.state === "removing" || place.state === "purging")
    return `${key} is being removed from shard ${place.shard} (epoch ${place.epoch}, ${place.state})`;
  return `${key} lives on shard ${place.shard} (epoch ${place.epoch}, ${place.state})`;
}

async function listRanges(handle: Handle, json: boolean): Promise<void> {
  const ranges = (await handle.tenants.ranges()).map(({ low, high, shard, state }) => ({
    low: handle.keyToText(low),
    high: high === null ? null : handle.keyToText(high),
    shard,
    state,
  }));
  print(json, { ranges }, () =>
    table(
      ["from", "up to", "shard", "state"],
      ranges.map(({ low, high, shard, state }) => [low, high ?? "the end", String(shard), state]),
    ),
  );
}

async function listTenants(
  handle: Handle,
  options: { shard?: number; limit: number; after?: string },
  json: boolean,
): Promise<void> {
  const places: { key: string; shard: number; state: string }[] = [];
  const after = options.after === undefined ? {} : { after: handle.keyFromText(options.after) };
  const shard = options.shard === undefined ? {} : { shard: options.shard };
  for await (const place of handle.tenants.list({ ...after, ...shard, limit: options.limit })) {
    places.push({ key: handle.keyToText(place.key), shard: place.shard, state: place.state });
  }
  print(json, { tenants: places }, () =>
    table(
      ["key", "shard", "state"],
      places.map(({ key, shard: id, state }) => [key, String(id), state]),
    ),
  );
}
