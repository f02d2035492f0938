/** Streaming replication: positions are log sequence numbers, such as `16/B374D848` (https://www.postgresql.org/docs/current/datatype-pg-lsn.html). */
import type { EngineReplication } from "../contract.ts";

/**
 * Where the log ends, with what open transactions have written. At the very end of a page it is told as the place behind the next page's header, which no replica
 * reaches before there is another record: 24 bytes, and 40 in a segment's first page.
 */
const INSERTED =
  "select case when mod(lsn - '0/0', pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))) = 40 then lsn - 40::numeric " +
  "when mod(lsn - '0/0', pg_catalog.current_setting('wal_block_size')::numeric) = 24 then lsn - 24::numeric else lsn end " +
  "from (select pg_catalog.pg_current_wal_insert_lsn() as lsn) as log";

const FLUSHED = "pg_catalog.pg_current_wal_flush_lsn()";

/**
 * A commit that was answered is flushed, unless the login's commits are not waited for; and what an open transaction of somebody else has written is not flushed, and not
 * sent, before somebody commits, so that nobody need wait for it.
 */
const COMMITTED = `case when pg_catalog.current_setting('synchronous_commit') = 'off' then (${INSERTED}) else ${FLUSHED} end`;

export const postgresReplication: EngineReplication = Object.freeze({
  statusSql:
    `select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() else ${COMMITTED} end::text as position, ` +
    `case when not pg_catalog.pg_is_in_recovery() then (${INSERTED}) end::text as written, ` +
    `case when not pg_catalog.pg_is_in_recovery() then ${FLUSHED} end::text as sent, ` +
    "case when pg_catalog.pg_is_in_recovery() or pg_catalog.current_setting('default_transaction_read_only')::bool then 0 else 1 end as writable",
  covers(position: string, wanted: string) {
    const reached = numberOf(position);
    const asked = numberOf(wanted);
    return reached !== undefined && asked !== undefined && reached >= asked;
  },
  hasParted(position: string, primary: string) {
    const reached = numberOf(position);
    const written = numberOf(primary);
    return reached !== undefined && written !== undefined && reached > written;
  },
});

function numberOf(lsn: string): bigint | undefined {
  const parts = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/i.exec(lsn);
  return parts === null ? undefined : (BigInt(`0x${parts[1]}`) << 32n) + BigInt(`0x${parts[2]}`);
}
