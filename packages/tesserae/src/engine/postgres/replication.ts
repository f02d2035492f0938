/** Streaming replication: positions are log sequence numbers, such as `16/B374D848` (https://www.postgresql.org/docs/current/datatype-pg-lsn.html). */
import type { EngineReplication } from "../contract.ts";

export const postgresReplication: EngineReplication = Object.freeze({
  // The insert position is not behind any commit, also where commits are not waited for (synchronous_commit = off).
  statusSql:
    "select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() else pg_catalog.pg_current_wal_insert_lsn() end::text as position, " +
    "case when pg_catalog.pg_is_in_recovery() or pg_catalog.current_setting('default_transaction_read_only')::bool then 0 else 1 end as writable",
  covers(position: string, wanted: string) {
    const reached = numberOf(position);
    const asked = numberOf(wanted);
    return reached !== undefined && asked !== undefined && reached >= asked;
  },
});

function numberOf(lsn: string): bigint | undefined {
  const parts = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/i.exec(lsn);
  return parts === null ? undefined : (BigInt(`0x${parts[1]}`) << 32n) + BigInt(`0x${parts[2]}`);
}
