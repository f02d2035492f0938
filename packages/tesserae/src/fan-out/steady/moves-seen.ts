/**
 * The moves between shards as a fan-out sees them in main: what it must know of them, and what of two looks tells whether the shards that were read in between showed each row
 * once.
 *
 * A shard has rows that are not its own only between the beginning of a move, which is its row in main, and its end: at the target before the cut-over, at the source behind it. So where a
 * look says that nothing is under way, and a later one that nothing has begun, every row that any shard showed in between was its own. Moves within one shard (a split, a key that
 * gets a place of its own) move no rows and are none here.
 */
import type { KeyMember } from "./key-conditions.ts";

/**
 * Where a move is: `source`: before the cut-over, or on the way back. `cutOver`: main has said that the rows are the target's, and the shards may not know it yet. `settled`: both
 * shards know.
 */
export type MovePhase = "source" | "cutOver" | "settled";

export interface SeenMove {
  /** Rises in the order in which moves begin. */
  readonly id: bigint;
  readonly source: number;
  readonly target: number;
  readonly phase: MovePhase;
  readonly underWay: boolean;
  readonly members: readonly KeyMember[];
}

/** One look at main. */
export interface MovesSeen {
  /** No move that had begun has a larger id. */
  readonly newest: bigint;
  /** Those under way, and of those that had ended the ones that were asked for. */
  readonly moves: readonly SeenMove[];
}

/**
 * A mover brings no row to its target for so long after its move has been written in main, in milliseconds. So a look at main that found nothing holds for so long, counted from when
 * it was put, and need not be put behind the shards' first rows.
 */
export const QUIET_MS = 25;

/** How main is looked at. */
export interface MovesUnderWay {
  /** With what has ended since the look before, of the moves that were under way then or have begun since. */
  look(before: MovesSeen | undefined): Promise<MovesSeen>;
}

export const underWay = ({ moves }: MovesSeen): readonly SeenMove[] => moves.filter((move) => move.underWay);

/** Whether a move has begun between two looks. */
export function hasBegun(before: MovesSeen, after: MovesSeen): boolean {
  return after.newest > before.newest;
}

/** Whether main has given any key to another shard between two looks. */
export function hasCutOver(before: MovesSeen, after: MovesSeen): boolean {
  const phases = new Map(before.moves.map(({ id, phase }) => [id, phase]));
  return after.moves.some(({ id, phase }) => phase !== "source" && (phases.get(id) ?? "source") === "source");
}
