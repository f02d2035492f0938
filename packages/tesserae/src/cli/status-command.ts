/** `tesserae status`: what is configured and which database answers. It asks, and creates nothing. */
import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { TesseraeError } from "../base/errors.ts";
import { engineFromUrl, type FederationConfig } from "../configuration.ts";
import type { Database, Engine } from "../engine/contract.ts";
import { type DatabaseProbe, type FederationStatus, federate } from "../federation.ts";
import { MAIN, parseTopology } from "../topology/topology.ts";
import { EXIT, print, table } from "./output.ts";

/** Prints the status and sets the exit code. */
export async function showStatus(config: FederationConfig, json: boolean): Promise<void> {
  const federation = await federate(withoutCreating(config));
  try {
    const probes = (await federation.probe()).map((probe) =>
      probe.error === undefined ? probe : { ...probe, tenants: undefined },
    );
    const status = federation.status();
    const schemaApplied = isApplied(probes, controlExists(config));
    print(json, { ...status, schemaApplied: schemaApplied ?? null, databases: probes }, () =>
      describe(status, probes, schemaApplied),
    );
    if (probes.some((probe) => probe.error !== undefined)) process.exitCode = EXIT.unreachable;
  } finally {
    await federation.close();
  }
}

function describe(
  status: FederationStatus,
  probes: readonly DatabaseProbe[],
  schemaApplied: boolean | undefined,
): string[] {
  const primaries = primariesOf(status);
  const played = Object.entries(status.poorMans).flatMap(([name, on]) => (on ? [name] : []));
  return [
    ...table(
      ["database", "address", ...(primaries.size > 0 ? ["primary"] : []), "answers", "tenants"],
      probes.map((probe) => [
        probe.name,
        probe.address,
        ...(primaries.size > 0 ? [primaries.get(probe.name) ?? ""] : []),
        probe.error === undefined ? "yes" : `no: ${probe.error}`,
        probe.tenants === undefined ? "" : String(probe.tenants),
      ]),
    ),
    "",
    ...describeReplicas(status),
    ...(schemaApplied === false ? ['schema: not applied yet; run "tesserae schema apply"'] : []),
    `main plays: ${played.join(", ") || "main alone"}`,
    ...status.budget.map(
      ({ server, pools, connectionsMax }) =>
        `connections on ${server}: at most ${connectionsMax} (${pools.join(", ")})`,
    ),
  ];
}

/** Which host takes writes, of each database that has several, by the database's name. */
function primariesOf({ main, control, shards }: FederationStatus): Map<string, string> {
  const named = [
    ["main", main],
    ["control", control],
    ...shards.map((shard) => [`shard ${shard.id}`, shard] as const),
  ] as const;
  return new Map(named.flatMap(([name, { primary }]) => (primary === undefined ? [] : [[name, primary]])));
}

function describeReplicas({ replicas }: FederationStatus): string[] {
  if (replicas.length === 0) return [];
  const rows = replicas.map(({ name, state, lagMs, reason }) => [
    name,
    state,
    lagMs === undefined ? "" : `${Math.round(lagMs)} ms behind`,
    reason ?? "",
  ]);
  return [...table(["replica", "state", "lag", "why it takes no reads"], rows), ""];
}

/** Keys can be counted where the control tables are; undefined: nobody could be asked. */
function isApplied(probes: readonly DatabaseProbe[], controlIsThere: boolean): boolean | undefined {
  if (!controlIsThere) return false;
  if (probes.some(({ name, error }) => name === "control" && error !== undefined)) return undefined;
  const reached = probes.filter(({ name, error }) => name.startsWith("shard ") && error === undefined);
  return reached.length === 0 ? undefined : reached.some(({ tenants }) => tenants !== undefined);
}

function controlExists(config: FederationConfig): boolean {
  return !isAbsent(parseTopology<Engine>(config, engineFromUrl).main.control());
}

/** The configuration with each SQLite file that is not there replaced by a database that says so: opening it would create the file. */
function withoutCreating(config: FederationConfig): FederationConfig {
  const {
    main,
    replicas: replicasOfMain,
    shards,
    tickets,
    poorMans,
  } = parseTopology<Engine>(config, engineFromUrl);
  const asked = {
    ...config,
    main: unlessAbsent(main),
    ...(tickets.length === 0 ? {} : { tickets: tickets.map(unlessAbsent) }),
  };
  if (poorMans.federation) return asked;
  const entries = [...shards.values()].map(({ id, primary, replicas, isMain }) => {
    const shard = isMain ? MAIN : unlessAbsent(primary);
    const own = replicas.length > 0 && replicas !== replicasOfMain;
    return { id, primary: shard, ...(own ? { replicas } : {}) };
  });
  return { ...asked, shards: entries };
}

/** A file of SQLite's that does not exist. In memory and on a server there is nothing to look for. */
function isAbsent(engine: Engine): boolean {
  const path = engine.address.identity.replace(/^sqlite:/, "");
  return engine.name === "sqlite" && isAbsolute(path) && !existsSync(path);
}

function unlessAbsent(engine: Engine): Engine {
  const control = engine.control();
  if (!isAbsent(engine) && !isAbsent(control)) return engine;
  const { name, dialect, address } = engine;
  const shownControl = control === engine ? undefined : unlessAbsent(control);
  const shown: Engine = {
    name,
    dialect,
    address,
    control: () => shownControl ?? shown,
    open: (options) => (isAbsent(engine) ? absentDatabase(shown) : engine.open(options)),
  };
  return shown;
}

function absentDatabase(engine: Engine): Database {
  const refuse = () =>
    Promise.reject(
      new TesseraeError("CONNECT_FAILED", 'The file is not there yet. "tesserae schema apply" makes it.', {
        retryable: false,
      }),
    );
  return {
    engine,
    run: refuse,
    acquire: refuse,
    close: () => Promise.resolve(),
    stats: { open: 0, inUse: 0, waiting: 0 },
  };
}
