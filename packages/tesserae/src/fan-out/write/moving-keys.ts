/**
 * Keys that change their shard while a write over all shards is under way, written by themselves: exactly once, wherever they are.
 *
 * A transaction is opened on each shard that may have them, source and target, and in each the residences of these keys are locked shared. A cut-over changes residences under locks of its
 * own, on the source first and then on the target; so from the moment at which all are locked until the commits, no key among them comes or goes, and exactly one shard has each as its own. Frozen
 * ones are between the two: everything is let go, and tried again. Main is asked last, under the locks, whether there is one more shard that has some of them.
 */
import { isTesseraeError, TesseraeError } from "../../base/errors.ts";
import { directoryTableName } from "../../directory/control-tables.ts";
import type { KeyCodec } from "../../directory/key-codec.ts";
import { type ControlStore, RowCodec } from "../../engine/control-store.ts";
import { type ResidenceState, residenceTable } from "../../engine/control-tables.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import type { Target } from "../../session/target.ts";
import type { CheckedWrite } from "./checked-write.ts";
import { both, type Condition, isOwn, type KeyMember, meantBy, not } from "./key-members.ts";
import { inParts, type KeyPart, withoutPoints } from "./moving-parts.ts";
import { CommitUnknown, WriteTransaction } from "./write-transaction.ts";

/** How long one lock is waited for, in milliseconds, before all are let go: whoever moves the keys may wait for one that is held here. */
const LOCK_WAIT_MS = 500;

/** Keys that move together. */
export interface MovingKeys {
  readonly parts: readonly KeyPart[];
  /** Where they may be: the shards of their moves. */
  readonly shards: ReadonlySet<number>;
}

export interface MovingParts {
  readonly write: CheckedWrite;
  /** Which of their rows alone are meant, in portions; undefined for all. */
  readonly only: readonly (Condition | undefined)[];
  readonly keys: KeyCodec;
  readonly control: ControlStore;
  readonly shards: ReadonlyMap<number, Target>;
  readonly signal: AbortSignal | undefined;
  /** Whether no other move of these keys has begun since they were put together. */
  isAsSeen(): Promise<boolean>;
}

/** `later`: they change hands right now, or are on one more shard. */
export type MovingOutcome =
  | { readonly kind: "done"; readonly affectedRows: bigint; readonly parts: readonly KeyPart[] }
  /** They are no longer what they were put together as. */
  | { readonly kind: "changed"; readonly error: TesseraeError }
  | { readonly kind: "later"; readonly shards: ReadonlySet<number>; readonly error: TesseraeError };

/** One try. `without`: keys that are done already. Rejects with what failed; nothing was written then, unless it is CommitUnknown. */
export async function writeMoving(
  parts: MovingParts,
  { parts: keyParts, shards }: MovingKeys,
  without: readonly KeyPart[],
): Promise<MovingOutcome> {
  const { write, only, keys, signal } = parts;
  const members = keyParts.map(({ member }) => member);
  const open: WriteTransaction[] = [];
  const residences: Residence[] = [];
  try {
    for (const shard of [...shards].sort((a, b) => a - b)) {
      const transaction = await WriteTransaction.open(targetOf(parts, shard), signal);
      open.push(transaction);
      residences.push(...(await lockResidences(transaction, keys, members)));
    }
    if (isBetween(residences)) return { kind: "later", shards, error: busy(parts) };
    const now = await shardsOf(parts, members);
    if ([...now].some((shard) => !shards.has(shard)))
      return { kind: "later", shards: new Set([...shards, ...now]), error: busy(parts) };
    if (!(await parts.isAsSeen())) return { kind: "changed", error: changed(parts) };
    const federation = keys.federation.name;
    const condition = both(
      inParts(write.keyColumn, keyParts),
      meantBy(write.keyColumn, members, federation),
      not(inParts(write.keyColumn, without)),
      isOwn(write.keyColumn, federation, ["here", "leaving"]),
    );
    let affectedRows = 0n;
    for (const transaction of open)
      for (const portion of only)
        affectedRows += await transaction.write(write.where(both(portion, condition)));
    await commitAll(open);
    const points = residences.filter(({ kind }) => kind === "p").map(({ low }) => low);
    return { kind: "done", affectedRows, parts: keyParts.map((part) => withoutPoints(keys, part, points)) };
  } catch (error) {
    if (isTesseraeError(error) && LETS_GO.has(error.code)) return { kind: "later", shards, error };
    throw error;
  } finally {
    for (const transaction of open) await transaction.rollBack();
  }
}

/** Once one is committed, whatever becomes of the next is no clean failure. */
async function commitAll(open: readonly WriteTransaction[]): Promise<void> {
  for (const [index, transaction] of open.entries()) {
    try {
      await transaction.commit();
    } catch (error) {
      if (index === 0 || !isTesseraeError(error)) throw error;
      throw new CommitUnknown(error);
    }
  }
}

/** Raised before anything is committed: others were in the way. */
const LETS_GO: ReadonlySet<string> = new Set(["LOCK_TIMEOUT", "DEADLOCK", "SERIALIZATION", "GUARD_REFUSED"]);

/** Locks every residence that says something about the keys. */
async function lockResidences(
  transaction: WriteTransaction,
  keys: KeyCodec,
  members: readonly KeyMember[],
): Promise<Residence[]> {
  const { dialect } = transaction.target.kit;
  const codec = new RowCodec(dialect, residenceTable(keys.federation));
  const { sql, parameters } = concerning(keys, members, (key) => codec.encode("low", key));
  const { rows } = await transaction.run({
    sql: dialect.placeholders(
      `select kind, low, state from ${dialect.quote(residenceTable(keys.federation).name)} where ${sql} order by kind, low${dialect.capabilities.forShare}`,
    ),
    parameters,
    lockWaitMs: LOCK_WAIT_MS,
  });
  return rows.map((raw) => {
    const { kind, low, state } = codec.decodeRow(raw) as {
      kind: string;
      low: KeyValue;
      state: ResidenceState;
    };
    return { kind, low, name: `${kind} ${keys.toText(low)}`, state };
  });
}

/** A residence by its kind and low end. */
interface Residence {
  readonly kind: string;
  readonly low: KeyValue;
  readonly name: string;
  readonly state: ResidenceState;
}

/** Frozen, and no other shard has them: the cut-over is not decided, or not told to the target. Where another has them, the source has only not been told yet. */
function isBetween(residences: readonly Residence[]): boolean {
  const taken = new Set(
    residences.filter(({ state }) => state === "here" || state === "leaving").map(({ name }) => name),
  );
  return residences.some(({ name, state }) => state === "frozen" && !taken.has(name));
}

/** The shards that main's directory names for the keys now; for a range, also those of keys in it that have a place of their own. */
async function shardsOf({ control, keys }: MovingParts, members: readonly KeyMember[]): Promise<Set<number>> {
  const codec = control.dialect.codec(keys.federation.key);
  const { sql, parameters } = concerning(keys, members, (key) => codec.encode(key));
  const table = control.dialect.quote(directoryTableName(keys.federation.name));
  const { rows } = await control.read(
    `select distinct shard from ${table} where state in ('active', 'moving') and (${sql})`,
    parameters,
  );
  return new Set(rows.map(({ shard }) => Number(shard)));
}

/** The rows of residences, or of the directory, that say where the keys are: their points, and the ranges around them. With `?` for parameters. */
function concerning(
  keys: KeyCodec,
  members: readonly KeyMember[],
  encode: (key: KeyValue) => unknown,
): { readonly sql: string; readonly parameters: unknown[] } {
  const lesser = (a: KeyValue, b: KeyValue) => (keys.compare(a, b) <= 0 ? a : b);
  const conditions: string[] = [];
  const parameters: unknown[] = [];
  const points = members.filter(({ kind }) => kind === "p").map(({ low }) => low);
  if (points.length > 0) {
    const [least, largest] = [points.reduce(lesser), points.reduce((a, b) => (lesser(a, b) === a ? b : a))];
    conditions.push(
      `(kind = 'p' and low in (${points.map(() => "?").join(", ")}))`,
      "(kind = 'r' and low <= ? and (high is null or high > ?))",
    );
    parameters.push(...points.map(encode), encode(largest), encode(least));
  }
  for (const { kind, low, high } of members) {
    if (kind === "p") continue;
    const end = high === null ? "" : " and low < ?";
    conditions.push(`(kind = 'p' and low >= ?${end})`, `(kind = 'r' and (high is null or high > ?)${end})`);
    const ends = high === null ? [] : [encode(high)];
    parameters.push(encode(low), ...ends, encode(low), ...ends);
  }
  return { sql: conditions.join(" or "), parameters };
}

function targetOf({ shards, keys }: MovingParts, shard: number): Target {
  const target = shards.get(shard);
  if (target !== undefined) return target;
  throw new TesseraeError(
    "SHARD_UNKNOWN",
    `Keys move from or to shard ${shard}, which this configuration does not have. Add the shard to the configuration.`,
    { federation: keys.federation.name, shard },
  );
}

function changed({ keys }: MovingParts): TesseraeError {
  return new TesseraeError(
    "MOVE_UNDER_WAY",
    "The keys began to move once more before they could be written. Try again: error.report.rerun().",
    { federation: keys.federation.name, operation: "everywhere" },
  );
}

function busy({ keys }: MovingParts): TesseraeError {
  return new TesseraeError(
    "TENANT_BUSY",
    "The keys are changing hands, and no shard took their writes in time. Try again: error.report.rerun().",
    { federation: keys.federation.name, operation: "everywhere" },
  );
}
