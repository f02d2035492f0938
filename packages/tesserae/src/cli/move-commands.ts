/** `tesserae move`, `split`, `merge`, `drain`, `isolate`: each runs its moves here, to their end. `tesserae moves` looks after those that are there. */
import { type Command, InvalidArgumentError } from "commander";
import type { Federation } from "../federation.ts";
import type { KeyRange, MoveOptions, MoveStatus } from "../move/move-status.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import {
  FEDERATION_OPTION,
  type Handle,
  handleOf,
  onFederation,
  onHandle,
  optionsOf,
  wholeNumber,
} from "./command-context.ts";
import { runHere, runOnHandle } from "./move-runs.ts";
import { MoveScreen, outcome, subject } from "./move-screen.ts";
import { EXIT, print, printLine, table } from "./output.ts";

interface PaceOptions {
  readonly rowsPerSecond?: number;
  readonly hours?: string;
  readonly grace?: number;
  readonly pauseBudget?: number;
  readonly replicaLag?: number;
  readonly awaitReplicas?: boolean;
  readonly parallel?: number;
}

export function addMoves(program: Command): void {
  addMove(program);
  addSplitAndMerge(program);
  addDrain(program);
  addIsolate(program);
  addMoveList(program);
}

/** The options of everything that moves rows. */
function withPace(command: Command): Command {
  return command
    .option("--rows-per-second <count>", "copy and verify so many rows a second at most", wholeNumber)
    .option("--hours <from-to>", 'copy in these hours of the day alone, as "22-6"')
    .option("--grace <ms>", "how long the source keeps its rows after the cut-over", milliseconds)
    .option("--pause-budget <ms>", "put the cut-over off while writes would wait longer", milliseconds)
    .option("--replica-lag <ms>", "wait while replicas are further behind than this", milliseconds)
    .option(
      "--no-await-replicas",
      "wait for no replicas: neither with rows nor before the cut-over and the purge",
    )
    .option("--parallel <count>", "moves under way at the same time", wholeNumber);
}

function paceOf(options: PaceOptions): MoveOptions {
  const { rowsPerSecond, hours, grace, pauseBudget, replicaLag, awaitReplicas, parallel } = options;
  return {
    ...(rowsPerSecond === undefined ? {} : { rowsPerSecond }),
    ...(hours === undefined ? {} : { hours }),
    ...(grace === undefined ? {} : { graceMs: grace }),
    ...(pauseBudget === undefined ? {} : { pauseBudgetMs: pauseBudget }),
    ...(replicaLag === undefined ? {} : { replicaLagMs: replicaLag }),
    ...(awaitReplicas === false ? { awaitReplicas } : {}),
    ...(parallel === undefined ? {} : { parallel }),
  };
}

function addMove(program: Command): void {
  const command = program
    .command("move <keys...>")
    .description("move keys, or a range of keys written low..high, to another shard")
    .requiredOption("-t, --to <shard>", "the shard to move to", wholeNumber);
  withPace(command.option(...FEDERATION_OPTION)).action(
    async (texts: string[], options: PaceOptions & { to: number }, self: Command) => {
      await runOnHandle(self, (handle, caller) =>
        handle.moves.move(readSubject(handle, texts), { to: options.to, ...paceOf(options), ...caller }),
      );
    },
  );
}

function addSplitAndMerge(program: Command): void {
  const split = program
    .command("split")
    .description("cut the range of keys that holds a key in two")
    .requiredOption("--at <key>", "the first key of the upper half")
    .option("-t, --to <shard>", "move the upper half to this shard", wholeNumber);
  withPace(split.option(...FEDERATION_OPTION)).action(
    async (options: PaceOptions & { at: string; to?: number }, self: Command) => {
      await runOnHandle(self, (handle, caller) =>
        handle.split(joint(handle, options), { ...paceOf(options), ...caller }),
      );
    },
  );
  const merge = program
    .command("merge")
    .description("make one range of two that meet at a key")
    .requiredOption("--at <key>", "where one ends and the other begins")
    .option("-t, --to <shard>", "the shard of the whole, where the two are on different ones", wholeNumber);
  withPace(merge.option(...FEDERATION_OPTION)).action(
    async (options: PaceOptions & { at: string; to?: number }, self: Command) => {
      await runOnHandle(self, (handle, caller) =>
        handle.merge(joint(handle, options), { ...paceOf(options), ...caller }),
      );
    },
  );
}

function joint(handle: Handle, { at, to }: { at: string; to?: number }): { at: KeyValue; to?: number } {
  return { at: handle.keyFromText(at), ...(to === undefined ? {} : { to }) };
}

function addDrain(program: Command): void {
  interface DrainOptions extends PaceOptions {
    readonly to?: number;
    readonly federation?: string;
  }
  const ofOne = ["-f, --federation <name>", "of this federation alone"] as const;
  const faceOf = (federation: Federation, { federation: name }: Pick<DrainOptions, "federation">) =>
    name === undefined ? federation : handleOf(federation, name);
  const drain = program
    .command("drain")
    .argument("<shard>", "the shard to empty", wholeNumber)
    .description("move everything away from a shard, which takes no new keys from then on")
    .option(...ofOne)
    .option("-t, --to <shard>", "to this shard; without it, to the others evenly", wholeNumber);
  withPace(drain).action(async (shard: number, options: DrainOptions, self: Command) => {
    const to = options.to === undefined ? {} : { to: options.to };
    await runHere(self, (federation, caller) =>
      faceOf(federation, options).drain(shard, { ...to, ...paceOf(options), ...caller }),
    );
  });
  program
    .command("reopen")
    .argument("<shard>", "a shard that was drained", wholeNumber)
    .description("let a shard that was drained take new keys again")
    .option(...ofOne)
    .action(async (shard: number, options: DrainOptions, self: Command) => {
      await onFederation(self, async (federation) => {
        await faceOf(federation, options).reopen(shard);
        print(optionsOf(self).json === true, { shard, open: true }, () => [
          `shard ${shard} takes new keys again`,
        ]);
      });
    });
}

function addIsolate(program: Command): void {
  const command = program
    .command("isolate <key>")
    .description("give a key out of a range a place of its own, on the same shard");
  withPace(command.option(...FEDERATION_OPTION)).action(
    async (text: string, options: PaceOptions, self: Command) => {
      await runOnHandle(self, (handle, caller) =>
        handle.isolate(handle.keyFromText(text), { ...paceOf(options), ...caller }),
      );
    },
  );
}

/** Several keys, one, or `low..high` with either end left out. */
function readSubject(handle: Handle, texts: readonly string[]): KeyValue[] | KeyRange {
  const [first = ""] = texts;
  const range = texts.length === 1 ? /^(.*)\.\.(.*)$/s.exec(first) : null;
  if (range === null) return texts.map((text) => handle.keyFromText(text));
  const [, low = "", high = ""] = range;
  return {
    ...(low === "" ? {} : { low: handle.keyFromText(low) }),
    ...(high === "" ? {} : { high: handle.keyFromText(high) }),
  };
}

function addMoveList(program: Command): void {
  const moves = program.command("moves").description("moves that are under way, stand still, or have ended");
  moves
    .command("list")
    .description("moves that have not ended")
    .option(...FEDERATION_OPTION)
    .option("-a, --all", "those that have ended, too")
    .action(async (options: { all?: boolean }, command: Command) => {
      await onHandle(command, async (handle) => {
        const found = await handle.moves.list({ all: options.all === true });
        print(optionsOf(command).json === true, { moves: found }, () => listed(found));
      });
    });
  moves
    .command("watch")
    .argument("<id>", "the number of the move", moveId)
    .description("follow a move to its end, wherever it runs")
    .option(...FEDERATION_OPTION)
    .action((id: bigint, _options: unknown, command: Command) => watch(id, command));
  moves
    .command("pause")
    .argument("<id>", "the number of the move", moveId)
    .description("let a move stand still where it is; its keys are served as ever")
    .option(...FEDERATION_OPTION)
    .action((id: bigint, _options: unknown, command: Command) =>
      tell(command, (handle) => handle.moves.pause(id)),
    );
  moves
    .command("resume")
    .argument("[id]", "the number of the move", moveId)
    .description("go on with a move, or with all that stand still, here")
    .option("--no-await-replicas", "from here on wait for no replicas")
    .option(...FEDERATION_OPTION)
    .action(
      async (id: bigint | undefined, { awaitReplicas }: { awaitReplicas: boolean }, command: Command) => {
        await runOnHandle(command, (handle, caller) => {
          const options = awaitReplicas ? caller : { ...caller, awaitReplicas };
          return id === undefined ? handle.moves.resume(options) : handle.moves.resume(id, options);
        });
      },
    );
  moves
    .command("abort")
    .argument("<id>", "the number of the move", moveId)
    .description("turn a move back, as long as it has not cut over")
    .option(...FEDERATION_OPTION)
    .action((id: bigint, _options: unknown, command: Command) =>
      tell(command, (handle) => handle.moves.abort(id)),
    );
}

function listed(moves: readonly MoveStatus[]): string[] {
  if (moves.length === 0) return ["no moves"];
  return table(
    ["id", "what", "from", "to", "step", "state", "rows", "started"],
    moves.map(({ id, what, from, to, step, state, rowsCopied, startedAt }) => [
      String(id),
      what,
      String(from),
      String(to),
      step,
      state,
      String(rowsCopied),
      startedAt.toISOString(),
    ]),
  );
}

async function tell(command: Command, act: (handle: Handle) => Promise<MoveStatus>): Promise<void> {
  await onHandle(command, async (handle) => {
    const status = await act(handle);
    print(optionsOf(command).json === true, status, () => [
      status.state === "aborted" ? outcome(status) : `${subject(status)}: ${status.step}, ${status.state}`,
    ]);
  });
}

/** With `--json` a line for each change: whoever follows a move wants to hear of it while it runs. */
async function watch(id: bigint, command: Command): Promise<void> {
  const { json } = optionsOf(command);
  await onHandle(command, async (handle) => {
    const screen = new MoveScreen(process.stdout);
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    process.once("SIGINT", leave).once("SIGTERM", leave);
    try {
      for await (const status of handle.moves.watch(id, { signal: leaving.signal })) {
        if (json === true) printLine(status);
        else screen.show(status);
      }
    } finally {
      process.off("SIGINT", leave).off("SIGTERM", leave);
    }
    if (leaving.signal.aborted) process.exitCode = EXIT.left;
  });
}

function moveId(text: string): bigint {
  if (/^\d{1,18}$/.test(text)) return BigInt(text);
  throw new InvalidArgumentError("It must be the number of a move.");
}

function milliseconds(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number of milliseconds.");
}
