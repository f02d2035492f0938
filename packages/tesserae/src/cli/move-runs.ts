/** Running moves from the command line: what is shown meanwhile, what Ctrl-C leaves behind, and the command that goes on with it. */
import type { Command } from "commander";
import type { Federation } from "../federation.ts";
import type { MoveOptions, MoveStatus } from "../move/move-status.ts";
import { type Handle, handleOf, onFederation, optionsOf } from "./command-context.ts";
import { MoveScreen, subject } from "./move-screen.ts";
import { EXIT, print } from "./output.ts";

/** What a command adds to the options of a move. */
export type Caller = Required<Pick<MoveOptions, "onProgress" | "signal">>;

type Result = MoveStatus | readonly MoveStatus[] | undefined;

/** Runs moves of the federation that the command names. */
export function runOnHandle(
  command: Command,
  start: (handle: Handle, caller: Caller) => Promise<Result>,
): Promise<void> {
  return runHere(command, (federation, caller) =>
    start(handleOf(federation, optionsOf(command).federation), caller),
  );
}

/**
 * Runs moves in this process until they end. Ctrl-C, or a SIGTERM, leaves them as they are: the exit code says so, and the last lines how to go on. A second one
 * ends the process at once, which does no more harm than that.
 */
export async function runHere(
  command: Command,
  start: (federation: Federation, caller: Caller) => Promise<Result>,
): Promise<void> {
  const { config, json = false } = optionsOf(command);
  await onFederation(command, async (federation) => {
    const moves = new Map<bigint, MoveStatus>();
    const screen = json ? undefined : new MoveScreen(process.stdout);
    const onProgress = (status: MoveStatus) => {
      moves.set(status.id, status);
      screen?.show(status);
    };
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    process.once("SIGINT", leave).once("SIGTERM", leave);
    try {
      const ended = await start(federation, { onProgress, signal: leaving.signal });
      for (const status of [ended ?? []].flat()) onProgress(status);
      report(json, moves, false);
    } catch (error) {
      screen?.end();
      await refresh(federation, moves);
      // One that another process has taken up meanwhile does not wait for anybody.
      const open = [...moves.values()].filter(({ state }) => state === "stopped" || state === "paused");
      if (!leaving.signal.aborted) {
        if (!json && open.length > 0) process.stderr.write(`${howToGoOn(open, config)}\n`);
        throw error;
      }
      report(json, moves, true);
      if (!json && open.length > 0) process.stdout.write(`${howToGoOn(open, config)}\n`);
      process.exitCode = EXIT.left;
    } finally {
      process.off("SIGINT", leave).off("SIGTERM", leave);
    }
  });
}

function report(json: boolean, moves: ReadonlyMap<bigint, MoveStatus>, left: boolean): void {
  print(json, { moves: [...moves.values()], left }, () =>
    moves.size === 0 ? [left ? "left before anything moved" : "there was nothing to do"] : [],
  );
}

/** What main says of them now. A main that does not answer leaves what was known. */
async function refresh(federation: Federation, moves: Map<bigint, MoveStatus>): Promise<void> {
  for (const known of moves.values()) {
    const status = await handleOf(federation, known.federation)
      .moves.get(known.id)
      .catch(() => undefined);
    if (status !== undefined) moves.set(known.id, status);
  }
}

function howToGoOn(open: readonly MoveStatus[], config: string | undefined): string {
  const only = open.length === 1 ? open[0] : undefined;
  const said =
    only === undefined
      ? `${open.length} moves stand still, and can be gone on with`
      : `${subject(only)} stands still at "${only.step}", and can be gone on with`;
  const commands = [...new Set(open.map(({ federation }) => federation))].map((federation) =>
    [
      "  tesserae",
      ...(config === undefined ? [] : ["--config", config]),
      "moves resume",
      ...(only === undefined ? [] : [String(only.id)]),
      ...(federation === "default" ? [] : ["--federation", federation]),
    ].join(" "),
  );
  return [`${said}:`, ...commands].join("\n");
}
