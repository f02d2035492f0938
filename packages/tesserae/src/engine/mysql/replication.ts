/**
 * Replication by GTIDs. MariaDB's position is a list with the last transaction of each domain, `0-1-1704,1-3-20` (domain, server, number); MySQL's is a set
 * of intervals for each server, `3e11fa47-…:1-5:7,…` (https://mariadb.com/kb/en/gtid/, https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html).
 */
import type { EngineReplication } from "../contract.ts";

/** A number, or in later versions of MariaDB a word that says how much is refused. */
const READ_ONLY = "concat(@@global.read_only) not in ('0', 'OFF')";

export const mysqlReplication: EngineReplication = Object.freeze({
  // MariaDB's current position is the newest of what was applied and of what the server has logged itself, such as an ANALYZE TABLE. On a replica that says nothing of
  // the primary's log; on a primary the applied one is what it had when it was promoted.
  statusSql:
    `select /*M! if(${READ_ONLY}, @@global.gtid_slave_pos, @@global.gtid_current_pos) */ /*!80000 @@global.gtid_executed */ as position, ` +
    `if(${READ_ONLY} /*!80000 or @@global.super_read_only */, 0, 1) as writable`,
  covers(position: string, wanted: string) {
    // MySQL breaks long sets into lines.
    const reached = position.replace(/\s/g, "");
    const asked = wanted.replace(/\s/g, "");
    if (reached === "" || asked === "") return false;
    return asked.includes(":") ? coversIntervals(reached, asked) : coversDomains(reached, asked);
  },
  hasParted(position: string, primary: string) {
    // MySQL's sets name each transaction with the server that wrote it; one that a replica has for itself is no harm.
    const reached = domainsOf(position);
    const written = domainsOf(primary);
    if (reached === undefined || written === undefined) return false;
    // A domain that the primary does not have is another primary's, of a replica with several.
    return [...reached].some(([domain, gtid]) => {
      const newest = written.get(domain);
      return newest !== undefined && gtid.number >= newest.number && !isSame(gtid, newest);
    });
  },
});

function coversDomains(reached: string, asked: string): boolean {
  const last = domainsOf(reached);
  const wanted = domainsOf(asked);
  if (last === undefined || wanted === undefined) return false;
  return [...wanted].every(([domain, gtid]) => {
    const reachedThere = last.get(domain);
    if (reachedThere === undefined) return false;
    // Two servers give the same number when both took themselves for the primary.
    return reachedThere.number > gtid.number || isSame(reachedThere, gtid);
  });
}

interface Gtid {
  readonly server: string;
  readonly number: bigint;
}

const isSame = (one: Gtid, other: Gtid) => one.number === other.number && one.server === other.server;

/** The last transaction of each domain. */
function domainsOf(position: string): Map<string, Gtid> | undefined {
  const domains = new Map<string, Gtid>();
  for (const gtid of position.split(",")) {
    const parts = /^(\d+)-(\d+)-(\d+)$/.exec(gtid);
    if (parts === null) return undefined;
    domains.set(parts[1] as string, { server: parts[2] as string, number: BigInt(parts[3] as string) });
  }
  return domains;
}

type Interval = readonly [first: bigint, last: bigint];

function coversIntervals(reached: string, asked: string): boolean {
  const has = intervalsOf(reached);
  const wanted = intervalsOf(asked);
  if (has === undefined || wanted === undefined) return false;
  return [...wanted].every(([source, intervals]) =>
    intervals.every(([first, last]) =>
      (has.get(source) ?? []).some((interval) => interval[0] <= first && last <= interval[1]),
    ),
  );
}

/** The transactions of each source: a server's UUID, from MySQL 8.4 on with a tag. The server joins intervals that meet. */
function intervalsOf(position: string): Map<string, Interval[]> | undefined {
  const sources = new Map<string, Interval[]>();
  for (const part of position.toLowerCase().split(",")) {
    const [server, ...pieces] = part.split(":");
    if (server === undefined || !/^[0-9a-f-]{36}$/.test(server) || pieces.length === 0) return undefined;
    let source = server;
    for (const piece of pieces) {
      const interval = /^(\d+)(?:-(\d+))?$/.exec(piece);
      if (interval === null) {
        if (!/^[a-z_][a-z0-9_]{0,31}$/.test(piece)) return undefined;
        source = `${server}:${piece}`;
        continue;
      }
      const first = BigInt(interval[1] as string);
      const intervals = sources.get(source) ?? [];
      intervals.push([first, interval[2] === undefined ? first : BigInt(interval[2])]);
      sources.set(source, intervals);
    }
  }
  return sources;
}
