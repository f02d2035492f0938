/** How far the moves of a federation are, for readers of several shards: two selects of main's rows, small as long as little moves. */
import { MOVES_TABLE, movesTable } from "../directory/control-tables.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import { type ControlStore, RowCodec } from "../engine/control-store.ts";
import type { KeyMember } from "../fan-out/steady/key-conditions.ts";
import {
  type MovePhase,
  type MovesSeen,
  type MovesUnderWay,
  underWay,
} from "../fan-out/steady/moves-seen.ts";
import type { FederationModel } from "../schema/model.ts";
import { canTurnBack } from "./move-record.ts";
import { readMembers } from "./move-rows.ts";
import type { MoveStep } from "./move-status.ts";

interface Row {
  readonly id: bigint;
  readonly source: number;
  readonly target: number;
  readonly step: MoveStep;
  readonly finished: Date | null;
}

export class MovesInMain implements MovesUnderWay {
  readonly #control: ControlStore;
  readonly #federation: string;
  readonly #keys: KeyCodec;
  readonly #codec: RowCodec;
  /** Of the moves that the last look has met. They never change. */
  #members: ReadonlyMap<bigint, readonly KeyMember[]> = new Map();

  constructor(control: ControlStore, federation: FederationModel, keys: KeyCodec) {
    this.#control = control;
    this.#federation = federation.name;
    this.#keys = keys;
    this.#codec = new RowCodec(control.dialect, movesTable());
  }

  async look(before: MovesSeen | undefined): Promise<MovesSeen> {
    // Ids are drawn under a lock that is held to the commit: whatever has begun behind this number has a larger one.
    const newest = before?.newest ?? (await this.#newest());
    const wereUnderWay = before === undefined ? [] : underWay(before).map(({ id }) => id);
    const rows = await this.#rows(newest, wereUnderWay);
    const members = await this.#membersOf(rows.map(({ id }) => id));
    return {
      newest: rows.reduce((most, { id }) => (id > most ? id : most), newest),
      moves: rows.map(({ id, source, target, step, finished }) => ({
        id,
        source,
        target,
        phase: phaseOf(step),
        underWay: finished === null,
        members: members.get(id) as readonly KeyMember[],
      })),
    };
  }

  async #newest(): Promise<bigint> {
    const { rows } = await this.#control.read(`select id from ${MOVES_TABLE} order by id desc limit 1`, []);
    return rows[0] === undefined ? 0n : (this.#codec.decode("id", rows[0]["id"]) as bigint);
  }

  /** Those under way by their index, and by the primary key those that have ended since the look before. */
  async #rows(newest: bigint, wereUnderWay: readonly bigint[]): Promise<readonly Row[]> {
    const select = `select id, source, target, step, finished from ${MOVES_TABLE} where`;
    const own = "federation = ? and source <> target";
    const ids = wereUnderWay.map(() => "?").join(", ");
    const ended = [
      `${select} id > ? and finished is not null and ${own}`,
      ...(ids === "" ? [] : [`${select} id in (${ids}) and finished is not null and ${own}`]),
    ];
    const id = (value: bigint) => this.#codec.encode("id", value);
    const federation = this.#codec.encode("federation", this.#federation);
    const { rows } = await this.#control.read(
      [`${select} finished is null and ${own}`, ...ended].join(" union all "),
      [federation, id(newest), federation, ...(ids === "" ? [] : [...wereUnderWay.map(id), federation])],
    );
    return rows.map((row) => this.#codec.decodeRow(row) as unknown as Row);
  }

  async #membersOf(ids: readonly bigint[]): Promise<ReadonlyMap<bigint, readonly KeyMember[]>> {
    const known = this.#members;
    const members = new Map(
      ids.flatMap((id) => (known.has(id) ? [[id, known.get(id) as readonly KeyMember[]]] : [])),
    );
    const missing = ids.filter((id) => !members.has(id));
    if (missing.length > 0) {
      const { rows } = await this.#control.read(
        `select id, members from ${MOVES_TABLE} where id in (${missing.map(() => "?").join(", ")})`,
        missing.map((id) => this.#codec.encode("id", id)),
      );
      for (const row of rows) {
        const { id, members: text } = this.#codec.decodeRow(row) as { id: bigint; members: string };
        members.set(id, readMembers(text, this.#keys));
      }
    }
    this.#members = members;
    return members;
  }
}

function phaseOf(step: MoveStep): MovePhase {
  if (canTurnBack(step) || step === "abort" || step === "aborted") return "source";
  return step === "arrive" ? "cutOver" : "settled";
}
