/** Who takes part on this machine. The shards asked by hand come first: they are what the others are compared with. */
import type { BenchContext } from "../harness.ts";
import { byHand } from "./by-hand.ts";
import { type Requirement, requireFdw, requirePlProxy, requireSpider } from "./debian-packages.ts";
import type { Shards } from "./dots.ts";
import { everywhere } from "./everywhere.ts";
import { PLPROXY_REMARK, plproxy } from "./plproxy.ts";
import { FDW_REMARK, postgresFdw } from "./postgres-fdw.ts";
import { type Contestant, compareAnswers, QUESTION_NAMES, type Row } from "./questions.ts";
import { SPIDER_REMARK, spider } from "./spider.ts";

interface Rival {
  readonly name: string;
  readonly remark: string;
  readonly missing: Requirement;
  open(context: BenchContext, shards: Shards): Promise<Contestant[]>;
}

const RIVALS: Record<Shards["engine"], readonly Rival[]> = {
  mysql: [{ name: "Spider", remark: SPIDER_REMARK, missing: requireSpider, open: spider }],
  postgres: [
    { name: "postgres_fdw", remark: FDW_REMARK, missing: requireFdw, open: postgresFdw },
    { name: "PL/Proxy", remark: PLPROXY_REMARK, missing: requirePlProxy, open: plproxy },
  ],
};

export async function openContestants(
  context: BenchContext,
  shards: Shards,
): Promise<{ readonly contestants: readonly Contestant[]; readonly remarks: readonly string[] }> {
  const contestants: Contestant[] = [byHand(context, shards), everywhere(shards)];
  const remarks: string[] = [];
  for (const { name, remark, missing, open } of RIVALS[shards.engine]) {
    const reason = await missing(shards);
    if (reason === undefined) {
      contestants.push(...(await open(context, shards)));
      remarks.push(remark);
    } else {
      context.say(`${name} is left out: ${reason}`);
      remarks.push(`${name} was left out: ${reason}`);
    }
  }
  await compareAll(contestants);
  return { contestants, remarks };
}

/** All must give the same answers, before anything is timed. */
async function compareAll(contestants: readonly Contestant[]): Promise<void> {
  for (const question of QUESTION_NAMES)
    for (const number of [1, 5, 1000]) {
      const answers = new Map<string, readonly Row[]>();
      for (const { name, asks } of contestants) {
        const ask = asks[question];
        if (ask !== undefined) answers.set(name, await ask(number));
      }
      compareAnswers(question, answers);
    }
}
