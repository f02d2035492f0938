/**
 * A process of an application: it writes to keys, or moves them, or reads them, as it is asked by messages (`ChildQuestion`), until it is
 * killed or its parent ends: `chaos.child.ts <json of ChildSettings>`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isTesseraeError } from "../../../src/index.ts";
import type { ChildAnswer, ChildEvent, ChildQuestion, ChildSettings, SeenRead } from "./chaos-messages.ts";
import type { ChaosFederation } from "./chaos-schema.ts";
import { openFederation } from "./chaos-site.ts";
import { KeyWriter } from "./key-writer.ts";
import { LedgerWriter } from "./ledger.ts";
import { MoverWork } from "./mover-work.ts";
import { SeededRandom } from "./seeded-random.ts";

const settings = JSON.parse(process.argv[2] as string) as ChildSettings;
const WRITE_MS_MAX = 20_000;
/** Ids that one writer of one key may use. */
const IDS_OF_A_WRITER = 1_000_000n;

function tell(message: ChildAnswer | ChildEvent): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(message, undefined, {}, () => resolve());
  });
}

const fed: ChaosFederation = await openFederation(settings.addresses, settings.leaseMs, (point) =>
  mover.reach(point),
);
const ledger = new LedgerWriter(settings.ledgerFolder, settings.name);
const mover: MoverWork = new MoverWork(fed, (point) => tell({ event: "point", point }));
let writersMade = 0n;
let reading: { stopped: boolean; done: Promise<SeenRead[]> } | undefined;
let writing: { stopped: boolean; pauseMs: number; done: Promise<unknown> } | undefined;

function writerOf(key: string, random: SeededRandom): KeyWriter {
  const firstId = BigInt(settings.firstId) + writersMade * IDS_OF_A_WRITER;
  writersMade += 1n;
  return new KeyWriter({ fed, ledger, random, key: BigInt(key), firstId });
}

async function writeAll(keys: readonly string[], seed: number, pauseMs: number): Promise<void> {
  await stopWriting();
  const state = { stopped: false, pauseMs, done: Promise.resolve() as Promise<unknown> };
  const loops = keys.map(async (key, index) => {
    const random = new SeededRandom(seed + index);
    const writer = writerOf(key, random);
    while (!state.stopped) {
      await writer.writeOnce();
      await sleep(random.next() * state.pauseMs);
    }
  });
  state.done = Promise.all(loops);
  writing = state;
}

async function stopWriting(): Promise<void> {
  if (writing === undefined) return;
  writing.stopped = true;
  await writing.done;
  writing = undefined;
}

async function writeSome(keys: readonly string[], seed: number, writes: number): Promise<void> {
  const deadline = Date.now() + WRITE_MS_MAX;
  await Promise.all(
    keys.map(async (key) => {
      const writer = writerOf(key, new SeededRandom(seed));
      for (let written = 0; written < writes; ) {
        if (await writer.writeOnce()) written += 1;
        else if (Date.now() > deadline) throw new Error(`Key ${key} took ${written} of ${writes} writes.`);
        else await sleep(20);
      }
    }),
  );
}

function readOn({ key, id, strict }: Extract<ChildQuestion, { verb: "read" }>): void {
  const state = { stopped: false, done: Promise.resolve<SeenRead[]>([]) };
  const loop = async () => {
    const seen: SeenRead[] = [];
    while (!state.stopped) {
      const session = fed.at(BigInt(key), { consistency: strict ? "strict" : "lease" });
      const beganAt = Date.now();
      const row = await session
        .selectFrom("items")
        .select("version")
        .where("id", "=", BigInt(id))
        .executeTakeFirst();
      seen.push({ beganAt, version: row?.version ?? null });
      await sleep(2);
    }
    return seen;
  };
  state.done = loop();
  // Whoever asks to stop hears of it.
  state.done.catch(() => {});
  reading = state;
}

async function stopReading(): Promise<SeenRead[]> {
  if (reading === undefined) return [];
  reading.stopped = true;
  return reading.done;
}

async function answer(question: ChildQuestion): Promise<unknown> {
  switch (question.verb) {
    case "write":
      return writeAll(question.keys, question.seed, question.pauseMs);
    case "calm":
      if (writing !== undefined) writing.pauseMs = question.pauseMs;
      return;
    case "stopWriting":
      return stopWriting();
    case "writeSome":
      return writeSome(question.keys, question.seed, question.writes);
    case "read":
      return readOn(question);
    case "stopReading":
      return stopReading();
    default:
      return mover.answer(question);
  }
}

process.on("message", ({ number, question }: { number: number; question: ChildQuestion }) => {
  answer(question).then(
    (result) => tell({ number, result: result ?? null }),
    (error: unknown) =>
      tell({
        number,
        error: {
          code: isTesseraeError(error) ? error.code : "none",
          message: error instanceof Error ? (error.stack ?? error.message) : String(error),
        },
      }),
  );
});
// Without its parent it has nothing to do.
process.on("disconnect", () => process.exit(0));
void tell({ event: "ready" });
