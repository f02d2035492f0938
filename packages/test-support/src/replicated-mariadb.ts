/** Replication between private MariaDB servers: by global transaction ids, asynchronous, everything from the binary log's beginning. */
import { queryAsAdmin, runAsAdmin } from "./administration.ts";
import { installMariaDb, startMariaDb } from "./mariadb.ts";
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
  "log-bin": "binlog",
  // Else the application's login may not create the triggers of a guard.
  "log-bin-trust-function-creators": "1",
  "relay-log": "relay",
  "log-slave-updates": "1",
  "gtid-strict-mode": "1",
  // How soon a replica looks again for a primary that is gone, and gives up one that is silent. The engine's own are 60 seconds each.
  "slave-net-timeout": "5",
};

/** The waiting for a replica's receipt never ends by itself; only a primary waits, since a replica would wait for replicas of its own. */
const SYNCHRONOUS: Readonly<Record<string, string>> = {
  "rpl-semi-sync-slave-enabled": "1",
  "rpl-semi-sync-master-wait-point": "AFTER_SYNC",
  "rpl-semi-sync-master-timeout": "86400000",
};

/** The primary cannot send the binary log from the place that it was asked for. */
const CANNOT_SEND = 1236;

/** Starts one server of a set; `number` is its own within the set. Without an upstream it is a primary. */
export async function startReplicatedMariaDb(
  options: ReplicationOptions,
  number: number,
  upstream?: ReplicatedServer,
): Promise<ReplicatedServer> {
  const state: { role: Role; upstream: ReplicatedServer | undefined; serverId: number } = {
    role: upstream === undefined ? "primary" : "replica",
    upstream: undefined,
    serverId: number,
  };
  const { synchronous = false } = options;
  const settings = { ...SETTINGS, ...(synchronous ? SYNCHRONOUS : {}), ...options.settings };
  const settingsNow = () => ({
    "server-id": `${state.serverId}`,
    "read-only": state.role === "replica" ? "1" : "0",
    "rpl-semi-sync-master-enabled": synchronous && state.role === "primary" ? "1" : "0",
  });
  const server = await startMariaDb({ ...options, settings }, settingsNow);
  const run = async (...statements: string[]): Promise<void> => {
    await runAsAdmin(server, statements);
  };

  const takeNoWrites = () => run("set global read_only = 1", "set global rpl_semi_sync_master_enabled = 0");

  const replicated: ReplicatedServer = extend(server, {
    get role() {
      return state.role;
    },
    get upstream() {
      return state.upstream;
    },
    stopReplication: () => run("stop slave sql_thread"),
    startReplication: () => run("start slave sql_thread"),
    async waitUntilCaughtUp(patience_ms = PATIENCE_MS) {
      if (state.upstream === undefined) return;
      await waitForPosition(server, await binlogPosition(state.upstream), patience_ms);
    },
    async promote() {
      // What has been received is applied first, as it is when PostgreSQL promotes. A demoted server that follows nobody has received nothing.
      if (state.upstream !== undefined) {
        // In this order: a replica throws away what it has received when it starts with neither thread running.
        await run("start slave sql_thread", "stop slave io_thread");
        const status = (await queryAsAdmin(server, "show slave status"))[0];
        await waitForPosition(server, String(status?.Gtid_IO_Pos ?? ""), PATIENCE_MS);
        await run("stop slave", "reset slave all");
      }
      await run(
        `set global rpl_semi_sync_master_enabled = ${synchronous ? 1 : 0}`,
        "set global read_only = 0",
      );
      Object.assign(state, { role: "primary", upstream: undefined });
    },
    async demote() {
      state.role = "replica";
      if (isRunning(server)) await takeNoWrites();
    },
    async follow(primary: ReplicatedServer) {
      Object.assign(state, { role: "replica", upstream: primary });
      if (isRunning(server)) await takeNoWrites();
      else await server.restart();
      if (await followFrom(server, primary)) return;
      await server.kill();
      await installMariaDb(server.folder);
      // A replica leaves out transactions that bear its own id, and the new primary may have some of its former life.
      state.serverId += 100;
      await server.restart();
      if (!(await followFrom(server, primary)))
        throw new Error(`The server on port ${server.port} cannot follow the one on port ${primary.port}.`);
    },
  });
  try {
    if (upstream !== undefined) await replicated.follow(upstream);
    return replicated;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function binlogPosition(server: ServerAddress): Promise<string> {
  const [row] = await queryAsAdmin(server, "select @@global.gtid_binlog_pos as position");
  return String(row?.position ?? "");
}

async function waitForPosition(server: ServerAddress, position: string, patience_ms: number): Promise<void> {
  const seconds = patience_ms / 1000;
  const [row] = await queryAsAdmin(server, `select master_gtid_wait('${position}', ${seconds}) as result`);
  if (Number(row?.result) === 0) return;
  throw new Error(
    `Not within ${patience_ms} ms: the replica on port ${server.port} has not applied ${position}.`,
  );
}

/** Which transaction of the set's only domain a position such as `0-1-12` is. */
const sequenceOf = (position: string) => Number(position.split("-")[2] ?? 0);

/** Lets a server go on from another one. False if it has transactions that the other has not. */
async function followFrom(server: ServerAddress, primary: ServerAddress): Promise<boolean> {
  const theirs = await binlogPosition(primary);
  const ours = await binlogPosition(server);
  if (sequenceOf(ours) >= sequenceOf(theirs) && ours !== theirs) return false;
  await runAsAdmin(server, [
    "stop slave",
    // A server that was a primary has its own transactions in its binary log only.
    "set global gtid_slave_pos = @@global.gtid_binlog_pos",
    `change master to master_host = '${primary.host}', master_port = ${primary.port}, master_ssl = 0,
      master_user = '${primary.adminUser}', master_password = '${primary.adminPassword}',
      master_use_gtid = slave_pos, master_connect_retry = 1`,
    "start slave",
  ]);
  // The primary finds out that it has not got where we want to go on when it comes to a later transaction, so that having theirs is the proof.
  let refused = false;
  await waitFor(`the replica on port ${server.port} receives from port ${primary.port}`, async () => {
    const status = (await queryAsAdmin(server, "show slave status"))[0];
    refused = Number(status?.Last_IO_Errno) === CANNOT_SEND;
    if (refused) return true;
    const [row] = await queryAsAdmin(server, `select master_gtid_wait('${theirs}', 0) as result`);
    return status?.Slave_IO_Running === "Yes" && Number(row?.result) === 0;
  });
  return !refused;
}
