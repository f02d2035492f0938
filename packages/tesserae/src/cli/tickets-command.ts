/** `tesserae tickets`: ids for people and scripts, and the servers they come from. */
import { type Command, InvalidArgumentError } from "commander";
import type { FederationConfig } from "../configuration.ts";
import { federate } from "../federation.ts";
import type { TicketStatus } from "../tickets/federation-tickets.ts";
import type { GrowthResult } from "../tickets/ticket-growth.ts";
import { onFederation, optionsOf, wholeNumber } from "./command-context.ts";
import { loadConfig } from "./config-file.ts";
import { EXIT, print, table } from "./output.ts";

export function addTickets(program: Command): void {
  const tickets = program.command("tickets").description("ids, and the servers they come from");
  tickets
    .command("take <sequence>", { isDefault: true })
    .description("take ids from a sequence; they are never given again")
    .option("-n, --count <count>", "how many", wholeNumber, 1)
    .action(async (sequence: string, options: { count: number }, command: Command) => {
      const { config, json } = optionsOf(command);
      const ids = await takeTickets(await loadConfig(config), sequence, options.count);
      print(json === true, { sequence, ids }, () => ids.map(String));
    });
  tickets
    .command("status")
    .description("which servers give the ids, how each is, and its counters")
    .action(async (_options: unknown, command: Command) => {
      await onFederation(command, async (federation) => {
        const status = await federation.tickets.status();
        print(optionsOf(command).json === true, status, () => describe(status));
        if (status.servers.some(({ state }) => state === "down")) process.exitCode = EXIT.unreachable;
      });
    });
  tickets
    .command("check")
    .description("look for servers and counters that are not as they should be")
    .action(async (_options: unknown, command: Command) => {
      await onFederation(command, async (federation) => {
        const findings = await federation.tickets.check();
        print(optionsOf(command).json === true, { findings }, () =>
          findings.length === 0
            ? ["all is well"]
            : findings.map(({ code, message }) => `${code}: ${message}`),
        );
        if (findings.length > 0) process.exitCode = EXIT.failed;
      });
    });
  addChanges(tickets);
}

function addChanges(tickets: Command): void {
  tickets
    .command("grow")
    .description("let the ticket servers of the configuration give the ids, while applications take them")
    .option("--without <address...>", "servers of the configuration that leave the set")
    .action(async (options: { without?: string[] }, command: Command) => {
      await onFederation(command, async (federation) => {
        const result = await federation.tickets.grow({ without: options.without ?? [] });
        print(optionsOf(command).json === true, result, () => [inForce(result)]);
      });
    });
  tickets
    .command("recover")
    .description("tell main again which ticket servers give the ids, after main was restored")
    .action(async (_options: unknown, command: Command) => {
      await onFederation(command, async (federation) => {
        const result = await federation.tickets.recover();
        print(optionsOf(command).json === true, result, () => [inForce(result)]);
      });
    });
  tickets
    .command("replace <address>")
    .description("put an empty database of the configuration in the place of a ticket server that was lost")
    .action(async (address: string, _options: unknown, command: Command) => {
      await onFederation(command, async (federation) => {
        const result = await federation.tickets.replace(address);
        print(optionsOf(command).json === true, result, () => [
          `${result.address} is ticket server ${result.offset} of ${result.step} now; it gives ids of each sequence that is raised: tesserae tickets raise SEQUENCE`,
        ]);
      });
    });
  tickets
    .command("raise <sequence>")
    .description("lift a sequence's counters on all servers above every id that was given")
    .option("--above <id>", "above this id; otherwise a million above all that is known", wholeId)
    .action(async (sequence: string, options: { above?: bigint }, command: Command) => {
      await onFederation(command, async (federation) => {
        const result = await federation.tickets.raise(sequence, options);
        print(optionsOf(command).json === true, result, () =>
          result.servers.map(({ address, nextId }) => `${address} gives ${nextId} next`),
        );
      });
    });
}

function inForce({ generation, servers, changed }: GrowthResult): string {
  const before = changed ? "" : ", as before";
  if (generation === 0) return `main gives the ids${before} (set 0)`;
  return `${servers} ticket ${servers === 1 ? "server gives" : "servers give"} the ids${before} (set ${generation})`;
}

/** A process of the application leases blocks; a command leases what it prints and no more. */
async function takeTickets(config: FederationConfig, sequence: string, count: number): Promise<bigint[]> {
  const { sequences = {} } = config.ticketing ?? {};
  const single = Object.entries(sequences).map(([name, options]) => [name, { ...options, mode: "single" }]);
  const federation = await federate({
    ...config,
    ticketing: { ...config.ticketing, mode: "single", sequences: Object.fromEntries(single) },
  });
  try {
    return await federation.tickets.take(sequence, count);
  } finally {
    await federation.close();
  }
}

function describe({ generation, growing, servers }: TicketStatus): string[] {
  const counters = servers.flatMap(({ address, counters: own }) =>
    own.map(({ sequence, nextId, state }) => [sequence, address, String(nextId), state]),
  );
  return [
    ...table(
      ["server", "gives, for instance", "state"],
      servers.map(({ address, offset, step, state, reason }) => [
        address,
        offset === undefined ? "" : [0, 1, 2].map((times) => offset + times * (step ?? 1)).join(", "),
        reason === undefined ? state : `${state}: ${reason}`,
      ]),
    ),
    "",
    `set ${generation}${generation === 0 ? ": main gives the ids" : ""}`,
    ...(growing === undefined
      ? []
      : [`being changed (${growing}); if nobody is at it any more: tesserae tickets grow`]),
    ...(counters.length === 0
      ? []
      : ["", ...table(["sequence", "server", "next id", "state"], counters.toSorted(bySequence))]),
  ];
}

function bySequence(one: readonly string[], other: readonly string[]): number {
  return (one[0] as string) < (other[0] as string) ? -1 : one[0] === other[0] ? 0 : 1;
}

function wholeId(text: string): bigint {
  if (/^\d+$/.test(text)) return BigInt(text);
  throw new InvalidArgumentError("It must be a whole number.");
}
