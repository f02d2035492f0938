/** What a shard manager has selected: main, or a shard by a distribution value. A value of its own: selecting makes a new one or raises, and never changes the old one. */
import type { Kysely } from "kysely";
import { TesseraeError } from "../base/errors.ts";
import { type ChooserContext, pickShard, type ShardChooser } from "../directory/choosers.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import { type FederationRoutes, KeyRoutes } from "../session/key-routes.ts";
import { openSession, type TenantSession } from "../session/sessions.ts";
import type { RoutedTarget, Target } from "../session/target.ts";
import { ShardBinding } from "./shard-binding.ts";

/** The types of rows are the manager's to give. */
// biome-ignore lint/suspicious/noExplicitAny: a session of any tables.
export type AnySession = Kysely<any>;

export interface ShardSelection {
  readonly kind: "shard";
  readonly value: KeyValue;
  /** Where the value leads now: the directory's answer, or the chooser's. */
  route(): RoutedTarget | Promise<RoutedTarget>;
  readonly unfiltered: AnySession;
  /** Undefined where the chooser is the manager's own. */
  readonly filtered: AnySession | undefined;
}

export type Selection = { readonly kind: "global" } | ShardSelection;

export interface SelectionParts {
  readonly codec: KeyCodec;
  readonly routes: FederationRoutes;
  /** Keys on each shard, for choosers that ask. */
  readonly load: () => Promise<ReadonlyMap<number, number>>;
  at(key: KeyValue): TenantSession<unknown>;
}

/** The shard of a value. KEY_NULL, KEY_TYPE, KEY_UNKNOWN; SHARD_UNKNOWN; CONNECT_FAILED and its like where the shard does not answer. */
export async function select(
  parts: SelectionParts,
  value: unknown,
  chooser: ShardChooser | undefined,
): Promise<ShardSelection> {
  const selection =
    chooser === undefined ? byDirectory(parts, value) : await byChooser(parts, value, chooser);
  await connect((await selection.route()).target);
  return selection;
}

function byDirectory({ codec, routes, at }: SelectionParts, value: unknown): ShardSelection {
  const key = keyOf(codec, value);
  const session = at(key);
  const way = new KeyRoutes(routes, key);
  return {
    kind: "shard",
    value: key,
    route: () => way.route(),
    unfiltered: session.unfiltered(),
    filtered: session,
  };
}

async function byChooser(
  { codec, routes, load }: SelectionParts,
  given: unknown,
  chooser: ShardChooser,
): Promise<ShardSelection> {
  const value = distributionValue(codec, given);
  const context: ChooserContext = {
    shards: [...routes.shards.keys()],
    federation: routes.federation,
    load,
    compareKeys: (a, b) => codec.compare(a, b),
    keyBytes: (key) => codec.toBytes(key),
  };
  const shard = await pickShard(chooser, value, context, codec);
  const binding = new ShardBinding(routes.shards.get(shard) as Target);
  return {
    kind: "shard",
    value,
    route: () => binding.route(),
    unfiltered: openSession(binding),
    filtered: undefined,
  };
}

/** A key; one of whole numbers may come as text too, as it comes from a URL or a form: `1` and `'1'` are one key, and so one shard. */
function keyOf(codec: KeyCodec, value: unknown): KeyValue {
  return typeof value === "string" && codec.federation.key.kind === "bigint"
    ? codec.fromText(value)
    : codec.check(value);
}

/** A chooser's value is a key as a rule, and may be something else: the number of a shard, where keys are text. */
function distributionValue(codec: KeyCodec, value: unknown): KeyValue {
  try {
    return keyOf(codec, value);
  } catch (error) {
    if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
    if (typeof value === "bigint" || typeof value === "string" || value instanceof Uint8Array) return value;
    throw error;
  }
}

/** A shard that cannot be reached is found out now, while the old selection still stands. A connection that is open already costs nothing. */
async function connect(target: Target): Promise<void> {
  try {
    (await target.database.acquire({ mode: "read" })).release();
  } catch (error) {
    throw toEngineError(error, target.kit.dialect, { ...target.place, operation: "selectShard" });
  }
}

/** What stands in the way of another selection while a transaction is open; undefined where nothing does. */
export function whyNoSwitch(
  open: {
    readonly value: KeyValue | undefined;
    readonly target: Target | undefined;
    readonly filtered: boolean;
  },
  next: { readonly value: KeyValue; readonly target: Target },
  codec: KeyCodec,
): TesseraeError | undefined {
  const { target } = next;
  const same = open.value !== undefined && isSame(open.value, next.value);
  if (open.target?.name !== target.name)
    return switchRefused(
      `it would lead from ${open.target?.name ?? "main"} to ${target.name}. Commit or roll back first`,
      target,
    );
  if (same) return undefined;
  if (open.filtered)
    return switchRefused(
      `filtering is on, and the transaction is bound to the key it began with. Commit or roll back first, or begin it with filtering off`,
      target,
    );
  if (target.isOnlyShard)
    return new TesseraeError(
      "TRANSACTION_OTHER_KEY",
      `A transaction is open for ${codec.show(open.value as KeyValue)}, and ${codec.show(next.value)} is another value. Both live on this one database today, but on many they will not always: give each a transaction of its own.`,
      target.place,
    );
  return undefined;
}

export function switchRefused(why: string, target?: Target): TesseraeError {
  return new TesseraeError(
    "SHARD_SWITCH_IN_TRANSACTION",
    `The shard cannot be switched while a transaction is open: ${why}.`,
    { ...target?.place, operation: "selectShard" },
  );
}

function isSame(a: KeyValue, b: KeyValue): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return a === b;
}
