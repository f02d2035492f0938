/** The moves of a federation that matter to a write over all shards, from main. */
import { MOVES_TABLE, movesTable } from "../../directory/control-tables.ts";
import type { KeyCodec } from "../../directory/key-codec.ts";
import { type ControlStore, RowCodec } from "../../engine/control-store.ts";
import { contains, type KeyMember } from "./key-members.ts";
import type { KeyPart } from "./moving-parts.ts";

export interface MoveInMain {
  readonly id: bigint;
  readonly source: number;
  readonly target: number;
  /** Main has committed that the keys live at the target. */
  readonly cutOver: boolean;
  readonly finished: boolean;
  /** Its key was in a range until it began. */
  readonly isolates: boolean;
  readonly members: readonly KeyMember[];
}

interface Progress {
  readonly shape?: { readonly kind: string };
}

const CUT_OVER: ReadonlySet<unknown> = new Set(["arrive", "merge", "purge", "done"]);

export class MovesInMain {
  readonly #control: ControlStore;
  readonly #keys: KeyCodec;
  readonly #codec: RowCodec;

  constructor(control: ControlStore, keys: KeyCodec) {
    this.#control = control;
    this.#keys = keys;
    this.#codec = new RowCodec(control.dialect, movesTable());
  }

  /** The largest id of all moves; 0 before the first. Ids rise, and a move that has ended keeps its row. */
  async last(): Promise<bigint> {
    const { rows } = await this.#control.read(`select max(id) as last_id from ${MOVES_TABLE}`, []);
    const raw = rows[0]?.["last_id"];
    return raw === null || raw === undefined ? 0n : (this.#codec.decode("id", raw) as bigint);
  }

  /** Those under way, and all that began after `last`, in the order of their beginning. Those that leave every key where it is count as well: a key that gets a place of its own is meant by no range any more. */
  async since(last: bigint): Promise<MoveInMain[]> {
    const { rows } = await this.#control.read(
      `select id, source, target, step, members, progress, finished from ${MOVES_TABLE} where federation = ? and (finished is null or id > ?) order by id`,
      [this.#codec.encode("federation", this.#keys.federation.name), this.#codec.encode("id", last)],
    );
    return rows.map((raw) => {
      const row = this.#codec.decodeRow(raw);
      return {
        id: row["id"] as bigint,
        source: row["source"] as number,
        target: row["target"] as number,
        cutOver: CUT_OVER.has(row["step"]),
        finished: row["finished"] !== null,
        isolates: (JSON.parse(row["progress"] as string) as Progress).shape?.kind === "isolate",
        members: this.#members(row["members"] as string),
      };
    });
  }

  /** The moves of a part, in their order: those of a key that has a place of its own, and before it had one those of the ranges around it. */
  concerning({ member }: KeyPart, moves: readonly MoveInMain[]): MoveInMain[] {
    const isMeant = (move: MoveInMain, kind: KeyMember["kind"]) =>
      move.members.some((other) => other.kind === kind && contains(this.#keys, other, member));
    if (member.kind === "r") return moves.filter((move) => isMeant(move, "r"));
    const own = moves.filter((move) => isMeant(move, "p"));
    const [first] = own;
    if (first?.isolates !== true) return own;
    return [...moves.filter((move) => move.id < first.id && isMeant(move, "r")), ...own];
  }

  #members(text: string): KeyMember[] {
    const members = JSON.parse(text) as (readonly ["p" | "r", string, string | null])[];
    return members.map(
      ([kind, low, high]) =>
        ({
          kind,
          low: this.#keys.fromText(low),
          high: high === null ? null : this.#keys.fromText(high),
        }) as KeyMember,
    );
  }
}
