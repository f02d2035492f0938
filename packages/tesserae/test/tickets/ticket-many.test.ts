/**
 * A million ids by eight processes from two servers, one of each engine, while processes and servers are killed. `TESSERAE_TICKET_IDS` makes it as many as one
 * likes.
 */
import { statSync } from "node:fs";
import {
  freshDatabases,
  type PrivateServer,
  startMariaDb,
  startPostgres,
  whyUnavailable,
} from "@tesserae/test-support";
import { expect, onTestFinished, test } from "vitest";
import { IdFiles, startTicketWork, type TicketChild, until } from "./ticket-children.ts";
import { TicketSite } from "./ticket-site.ts";

const IDS = Number(process.env.TESSERAE_TICKET_IDS ?? 1_000_000);
const PROCESSES = 8;
const reason = whyUnavailable("mysql") ?? whyUnavailable("postgres");

/** One bit an id: ids are given nearly without gaps. Gives their number, and the first that is there twice. */
function count(files: IdFiles, names: readonly string[]): { ids: number; twice: bigint | undefined } {
  let bits = new Uint8Array(1 << 20);
  let ids = 0;
  for (const name of names) {
    for (const id of files.ids([name])) {
      const byte = Number(id >> 3n);
      if (byte >= bits.length) {
        const more = new Uint8Array(Math.max(byte + 1, bits.length * 2));
        more.set(bits);
        bits = more;
      }
      const bit = 1 << Number(id & 7n);
      if (((bits[byte] as number) & bit) !== 0) return { ids, twice: id };
      bits[byte] = (bits[byte] as number) | bit;
      ids += 1;
    }
  }
  return { ids, twice: undefined };
}

test.skipIf(reason !== undefined)(
  `${PROCESSES} processes, two servers, ${IDS} ids, processes and servers killed: no id twice`,
  { timeout: 240_000 + IDS / 20 },
  async () => {
    const servers: PrivateServer[] = await Promise.all([startMariaDb(), startPostgres()]);
    const main = await freshDatabases("sqlite", 1);
    onTestFinished(() =>
      Promise.all([...servers.map((server) => server.stop()), main.cleanUp()]).then(() => {}),
    );
    const urls = await Promise.all(servers.map((server) => server.createDatabase()));
    await using site = new TicketSite([main.urls[0] as string, ...urls]);
    const places = await site.open(urls);
    await places.schema.apply();

    const files = new IdFiles();
    const names: string[] = [];
    const children: TicketChild[] = [];
    /** Half of them from blocks, of which a kill loses what was not used; half a call a round trip. */
    const start = (index: number) => {
      const file = files.add();
      names.push(file);
      const mode = index % 2 === 0 ? "blocks" : "single";
      const take = { file, count: 250, pauseMs: 1, ticketing: { mode, blockIdsMax: 4_000 } as const };
      children[index] = startTicketWork({ main: site.main, tickets: urls, take });
    };
    for (let index = 0; index < PROCESSES; index++) start(index);
    const size = (name: string) => statSync(name, { throwIfNoEntry: false })?.size ?? 0;
    const taken = () => names.reduce((sum, name) => sum + size(name), 0) / 8;
    const patience = 200_000 + IDS / 20;
    const reached = (share: number) => until(() => taken() >= IDS * share, patience);
    /** A process that has given ids, and another in its place. */
    const replace = async (index: number) => {
      await until(() => size(names[names.length - 1] as string) > 0, patience);
      children[index]?.process.kill("SIGKILL");
      start(index);
    };

    for (const [round, server] of servers.entries()) {
      await reached((round + 0.2) / 2);
      await server.kill();
      await reached((round + 0.4) / 2);
      await replace(round);
      await replace(PROCESSES - 1 - round);
      await server.restart();
    }
    await reached(1);
    for (const child of children) child.process.kill("SIGKILL");
    await Promise.all(children.map(({ ended }) => ended));

    const found = count(files, names);
    expect(found.twice).toBeUndefined();
    expect(found.ids).toBeGreaterThanOrEqual(IDS);
    // Both servers gave.
    const residues = files.ids(names.slice(0, PROCESSES));
    expect(new Set(residues.slice(0, 200_000).map((id) => id % 2n)).size).toBe(2);
    console.log(`${found.ids} ids, ${names.length} processes`);
  },
);
