/** Streaming replication between private PostgreSQL servers, asynchronous unless the settings say otherwise. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { queryAsAdmin, runAsAdmin } from "./administration.ts";
import { connectionString, copyPostgres, postgresData, startPostgres } from "./postgres.ts";
import {
  extend,
  isRunning,
  PATIENCE_MS,
  type ReplicatedServer,
  type ReplicationOptions,
  type Role,
  waitFor,
} from "./replicated-server.ts";
import type { ServerAddress } from "./server.ts";

const SETTINGS: Readonly<Record<string, string>> = {
  // Instead of replication slots, which a promoted replica would not have.
  wal_keep_size: "2GB",
  max_wal_senders: "20",
  // How soon a replica looks again for a primary that is gone. The engine's own is 5 seconds.
  wal_retrieve_retry_interval: "200ms",
};

/** Not among the settings at the start: the first primary is set up before it has replicas. */
const SYNCHRONOUS = ["alter system set synchronous_standby_names = 'ANY 1 (*)'", "select pg_reload_conf()"];

interface State {
  role: Role;
  upstream: ReplicatedServer | undefined;
  /** A server that has ever taken writes may have some that others have not; only a new copy is sure to have none. */
  tookWrites: boolean;
}

/** Starts one server of a set. Without an upstream it is a primary. */
export async function startReplicatedPostgres(
  options: ReplicationOptions,
  upstream?: ReplicatedServer,
): Promise<ReplicatedServer> {
  const replica = upstream !== undefined;
  const state: State = { role: replica ? "replica" : "primary", upstream, tookWrites: !replica };
  const server = await startPostgres(
    { ...options, settings: { ...SETTINGS, ...options.settings } },
    upstream,
  );
  const run = async (...statements: string[]): Promise<void> => {
    await runAsAdmin(server, statements);
  };

  if (upstream !== undefined && options.synchronous) {
    await runAsAdmin(upstream, SYNCHRONOUS);
    await waitFor(`port ${upstream.port} waits for its replicas' receipts`, async () => {
      const [row] = await queryAsAdmin(
        upstream,
        "select exists (select from pg_stat_replication where sync_state = 'quorum') as waits",
      );
      return row?.waits === true;
    });
  }

  return extend(server, {
    get role() {
      return state.role;
    },
    get upstream() {
      return state.upstream;
    },
    async stopReplication() {
      await run("select pg_wal_replay_pause()");
      await waitFor(`replay is paused on port ${server.port}`, async () => {
        const [row] = await queryAsAdmin(server, "select pg_get_wal_replay_pause_state() as state");
        return row?.state === "paused";
      });
    },
    startReplication: () => run("select pg_wal_replay_resume()"),
    async waitUntilCaughtUp(patience_ms = PATIENCE_MS) {
      if (state.upstream === undefined) return;
      const position = await writtenPosition(state.upstream);
      const applied = `select pg_last_wal_replay_lsn() >= '${position}' as applied`;
      await waitFor(
        `the replica on port ${server.port} has applied ${position}`,
        async () => (await queryAsAdmin(server, applied))[0]?.applied === true,
        patience_ms,
      );
    },
    async promote() {
      // Or it would follow its former primary again if it is demoted.
      await run("alter system reset primary_conninfo", "select pg_promote()");
      await waitFor(`the server on port ${server.port} is a primary`, async () => {
        const [row] = await queryAsAdmin(server, "select pg_is_in_recovery() as replica");
        return row?.replica === false;
      });
      if (options.synchronous) await run(...SYNCHRONOUS);
      Object.assign(state, { role: "primary", upstream: undefined, tookWrites: true });
    },
    async demote() {
      state.role = "replica";
      const running = isRunning(server);
      writeFileSync(join(postgresData(server.folder), "standby.signal"), "");
      if (running) await server.restart();
    },
    async follow(primary: ReplicatedServer) {
      Object.assign(state, { role: "replica", upstream: primary });
      if (!state.tookWrites && !isRunning(server)) await server.restart();
      if (state.tookWrites || (await isAheadOf(server, primary))) {
        await server.kill();
        await copyPostgres(primary, server.folder);
        await server.restart();
        state.tookWrites = false;
        return;
      }
      const target = connectionString(primary).replaceAll("'", "''");
      await run(
        // A replica that does not replay does not look for another primary either.
        "select pg_wal_replay_resume()",
        `alter system set primary_conninfo = '${target}'`,
        "select pg_reload_conf()",
      );
      await waitFor(`the replica on port ${server.port} receives from port ${primary.port}`, async () => {
        const [row] = await queryAsAdmin(server, "select sender_port, status from pg_stat_wal_receiver");
        return row?.sender_port === primary.port && row.status === "streaming";
      });
    },
  });
}

/**
 * Where the primary's log ends. At the very end of a page the engine gives the place of the next record, behind the header of a page that is not
 * written yet, and a replica that has everything is before it until something else is written.
 */
async function writtenPosition(server: ServerAddress): Promise<string> {
  const [row] = await queryAsAdmin(
    server,
    `select (case when (position - '0/0') % segment = 40 then position - 40
        when (position - '0/0') % 8192 = 24 then position - 24 else position end)::text as position
      from (select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end
        as position, setting::numeric as segment from pg_settings where name = 'wal_segment_size') as log`,
  );
  return String(row?.position);
}

/** Whether a replica has received more of its former primary's log than the new primary had when it was promoted. */
async function isAheadOf(replica: ServerAddress, primary: ServerAddress): Promise<boolean> {
  // One line for each promotion: the timeline that ended, where it ended, and why.
  const [row] = await queryAsAdmin(
    primary,
    `select pg_read_file('pg_wal/' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) || '.history',
      0, 100000, true) as history`,
  );
  const [, end] =
    String(row?.history ?? "")
      .trim()
      .split("\n")
      .at(-1)
      ?.split("\t") ?? [];
  if (end === undefined) return false;
  const received = "greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())";
  const [answer] = await queryAsAdmin(replica, `select ${received} > '${end}' as ahead`);
  return answer?.ahead === true;
}
