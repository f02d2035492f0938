/**
 * How a move begins: one transaction in main that looks, under locks, at everything that decides, marks the keys as moving, and writes the move. Before
 * it nothing was written anywhere; after it the move is finished or turned back, by whoever comes.
 */
import { TesseraeError } from "../base/errors.ts";
import { lockMeta } from "../directory/change-feed.ts";
import { layoutMeta, MOVES_TABLE, movesTable } from "../directory/control-tables.ts";
import type { DirectoryRow } from "../directory/directory-rows.ts";
import { type ControlTransaction, RowCodec } from "../engine/control-store.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { Member, MoveProgress, MoveRecord, MoveSettings, Shape } from "./move-record.ts";
import type { MoveKind, MoveStep } from "./move-status.ts";
import type { MoveParts } from "./move-work.ts";

export interface Beginning {
  readonly kind: MoveKind;
  readonly target: number;
  readonly settings: MoveSettings;
  readonly runner: string;
}

/**
 * Runs the transaction. An error that it returns is for the caller to hear at once: what it says stays so, however often it is asked. When the answer to a commit
 * was lost, the next try finds the keys moving, by this very call: its move is known by its runner, whom no other call has.
 */
async function begin(
  parts: MoveParts,
  { runner }: Pick<Beginning, "runner">,
  body: (transaction: ControlTransaction) => Promise<MoveRecord | TesseraeError>,
): Promise<MoveRecord> {
  let tries = 0;
  const attempt = (transaction: ControlTransaction) => {
    tries += 1;
    return body(transaction);
  };
  const result = await parts.control
    .transaction(attempt)
    .catch((error: unknown) => (error instanceof TesseraeError ? error : Promise.reject(error)));
  if (!(result instanceof TesseraeError)) return result;
  const own = tries > 1 ? await moveOf(parts, runner) : undefined;
  if (own === undefined) throw result;
  return own;
}

async function moveOf({ control, moves }: MoveParts, runner: string): Promise<MoveRecord | undefined> {
  const codec = new RowCodec(control.dialect, movesTable());
  const { rows } = await control.run(`select id from ${MOVES_TABLE} where runner = ? and finished is null`, [
    codec.encode("runner", runner),
  ]);
  return rows[0] === undefined ? undefined : moves.find(codec.decode("id", rows[0]["id"]) as bigint);
}

/** Keys with a place of their own, all on `source`. MOVE_UNDER_WAY, KEY_UNKNOWN, TENANT_BUSY when one of them is no longer what the caller saw. */
export function beginPoints(
  parts: MoveParts,
  keys: readonly KeyValue[],
  source: number,
  beginning: Beginning,
): Promise<MoveRecord> {
  return begin(parts, beginning, async (transaction) => {
    const rows = await parts.directoryRows.points(keys, transaction);
    const byKey = new Map(rows.map((row) => [parts.keys.cacheKey(row.low), row]));
    for (const key of keys) {
      const row = byKey.get(parts.keys.cacheKey(key));
      checkActive(parts, row, key);
      if (row?.shard !== source)
        return new TesseraeError("SERIALIZATION", `Key ${parts.keys.show(key)} was moved meanwhile.`, {
          federation: parts.federation.name,
          key: parts.keys.toText(key),
        });
    }
    const members = rows.map(memberOf);
    return insert(parts, transaction, beginning, { source, step: "claim", members, marked: rows });
  });
}

/** A key that the range around it serves: it gets a place of its own on the way. */
export function beginIsolation(
  parts: MoveParts,
  key: KeyValue,
  beginning: Omit<Beginning, "target"> & { readonly target: number | undefined },
): Promise<MoveRecord> {
  return begin(parts, beginning, async (transaction) => {
    await lockMeta(transaction, parts.control, layoutMeta(parts.federation.name), "", "shared");
    const range = await rangeAround(parts, transaction, key);
    checkActive(parts, range, key);
    const { shard: source, epoch, token } = range as DirectoryRow;
    const member: Member = { kind: "p", low: key, high: null, epoch };
    // The point is there from now on, still on the range's shard: nobody else gives the key another one.
    const row: DirectoryRow = { ...member, shard: source, state: "moving", token, updated: new Date() };
    if (!(await parts.directoryRows.insert(transaction, row)))
      return new TesseraeError(
        "SERIALIZATION",
        `Key ${parts.keys.show(key)} got a place of its own meanwhile.`,
      );
    const record = await insert(
      parts,
      transaction,
      { ...beginning, target: beginning.target ?? source },
      { source, step: "shape", members: [member], marked: [row], shape: { kind: "isolate" } },
    );
    await parts.feed.append(transaction, {
      federation: parts.federation.name,
      kind: "p",
      low: parts.keys.toText(key),
    });
    return record;
  });
}

/** A range of keys, cut out of the one around it where that is larger. RANGE_UNKNOWN, MOVE_UNDER_WAY. */
export function beginRange(
  parts: MoveParts,
  low: KeyValue,
  high: KeyValue | null,
  beginning: Omit<Beginning, "target"> & { readonly target: number | undefined },
): Promise<MoveRecord> {
  const { keys } = parts;
  return begin(parts, beginning, async (transaction) => {
    await lockMeta(transaction, parts.control, layoutMeta(parts.federation.name), "", "alone");
    const range = await rangeAround(parts, transaction, low);
    checkActive(parts, range, low);
    const whole = range as DirectoryRow;
    const reaches = whole.high === null || (high !== null && keys.compare(high, whole.high) <= 0);
    if (!reaches) throw noRange(parts, low);
    const isWhole =
      keys.compare(whole.low, low) === 0 &&
      (whole.high === null || high === null ? whole.high === high : keys.compare(whole.high, high) === 0);
    const member: Member = { kind: "r", low, high, epoch: whole.epoch };
    const target = beginning.target ?? whole.shard;
    // A split that stays on its shard only cuts; anything else that need not move was moved or split since the caller looked.
    if (target === whole.shard && (isWhole || beginning.kind === "move"))
      return new TesseraeError(
        "SERIALIZATION",
        `The range from ${keys.show(low)} was moved or split meanwhile. Look where it is now, and ask again.`,
        { federation: parts.federation.name, shard: target, operation: "moves" },
      );
    return insert(
      parts,
      transaction,
      { ...beginning, target },
      {
        source: whole.shard,
        step: isWhole ? "claim" : "shape",
        members: [member],
        marked: [whole],
        shape: isWhole ? undefined : { kind: "carve", low: keys.toText(whole.low) },
      },
    );
  });
}

/** The two ranges that meet at `at`: the one that is not on the target moves there first, from where the caller saw it. */
export function beginMerge(
  parts: MoveParts,
  at: KeyValue,
  source: number | undefined,
  beginning: Omit<Beginning, "target"> & { readonly target: number | undefined },
): Promise<MoveRecord> {
  const { keys, directoryRows } = parts;
  return begin(parts, beginning, async (transaction) => {
    await lockMeta(transaction, parts.control, layoutMeta(parts.federation.name), "", "alone");
    const upper = await directoryRows.lock(transaction, "r", at);
    if (upper === undefined) throw noRange(parts, at);
    const lower = await directoryRows.rangeEndingAt(transaction, at);
    if (lower === undefined) throw noRange(parts, at);
    checkActive(parts, upper, at);
    checkActive(parts, lower, lower.low);
    const target = beginning.target ?? lower.shard;
    const moving = lower.shard === target ? upper : lower;
    if (target !== lower.shard && target !== upper.shard)
      throw new TesseraeError(
        "SHARD_UNKNOWN",
        `The ranges that meet at ${keys.show(at)} are on the shards ${lower.shard} and ${upper.shard}: they can be merged on one of these, not on shard ${target}. Move one of them first.`,
        { federation: parts.federation.name, shard: target, operation: "merge" },
      );
    if (moving.shard !== source)
      return new TesseraeError(
        "SERIALIZATION",
        `One of the ranges that meet at ${keys.show(at)} was moved meanwhile. Look where it is now, and ask again.`,
        { federation: parts.federation.name, shard: target, operation: "merge" },
      );
    return insert(
      parts,
      transaction,
      { ...beginning, target },
      {
        source,
        step: source === target ? "merge" : "claim",
        members: [memberOf(moving)],
        marked: [lower, upper],
        shape: { kind: "merge", low: keys.toText(lower.low), at: keys.toText(at) },
      },
    );
  });
}

interface What {
  readonly source: number;
  readonly step: MoveStep;
  readonly members: readonly Member[];
  /** The directory's rows that nobody else may change meanwhile. */
  readonly marked: readonly DirectoryRow[];
  readonly shape?: Shape | undefined;
}

async function insert(
  parts: MoveParts,
  transaction: ControlTransaction,
  { kind, target, settings, runner }: Beginning,
  { source, step, members, marked, shape }: What,
): Promise<MoveRecord> {
  const highest = marked.reduce((max, { token }) => (token > max ? token : max), 0n);
  const token = await parts.moves.drawToken(transaction, highest);
  await parts.moves.markMoving(transaction, marked.map(memberOf), token);
  const progress: MoveProgress = {
    settings,
    shape,
    rowsTotal: 0,
    rowsCopied: 0,
    rowsVerified: 0,
    rowsPerSecond: 0,
    logEntries: 0,
    attempts: 1,
  };
  return parts.moves.insert(transaction, token, { kind, source, target, step, members, progress, runner });
}

const memberOf = ({ kind, low, high, epoch }: DirectoryRow): Member => ({ kind, low, high, epoch });

async function rangeAround(
  parts: MoveParts,
  transaction: ControlTransaction,
  key: KeyValue,
): Promise<DirectoryRow | undefined> {
  const found = await parts.directoryRows.rangeAtOrBelow(transaction, key);
  if (found === undefined || (found.high !== null && parts.keys.compare(key, found.high) >= 0))
    return undefined;
  return parts.directoryRows.lock(transaction, "r", found.low);
}

/** Only what rests can be moved. */
function checkActive(parts: MoveParts, row: DirectoryRow | undefined, key: KeyValue): void {
  const { keys, federation } = parts;
  const place = { federation: federation.name, key: keys.toText(key), operation: "moves" };
  if (row === undefined || row.state === "removed" || row.state === "removing" || row.state === "purging")
    throw new TesseraeError(
      "KEY_UNKNOWN",
      `Key ${keys.show(key)} of federation "${federation.name}" has no shard: it was ${row === undefined ? "never added" : "removed"}. There is nothing to move.`,
      place,
    );
  if (row.state === "admitting")
    throw new TesseraeError(
      "TENANT_BUSY",
      `Key ${keys.show(key)} is being added. Try again in a moment.`,
      place,
    );
  if (row.state === "moving")
    throw new TesseraeError(
      "MOVE_UNDER_WAY",
      `${row.kind === "p" ? "Key" : "The range around key"} ${keys.show(key)} of federation "${federation.name}" is being moved from shard ${row.shard} already. fed.moves.list() names the move: wait for it, or abort it.`,
      { ...place, shard: row.shard },
    );
}

function noRange(parts: MoveParts, key: KeyValue): TesseraeError {
  return new TesseraeError(
    "RANGE_UNKNOWN",
    `No range of federation "${parts.federation.name}" has that end at ${parts.keys.show(key)}. fed.tenants.ranges() shows what is there.`,
    { federation: parts.federation.name, key: parts.keys.toText(key), operation: "moves" },
  );
}
