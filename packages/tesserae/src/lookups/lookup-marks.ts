/**
 * Whether a lookup knows every row: a row of main's `tesserae_meta` for each that does. One that was made together with its table does; one that came later does
 * when it was rebuilt. Until then a value that main does not know may be in a row all the same.
 */
import { type ControlStore, RowCodec } from "../engine/control-store.ts";
import { META_TABLE, metaTable } from "../engine/control-tables.ts";
import type { Lookup } from "./lookup-table.ts";

const COMPLETE = "complete";

export class LookupMarks {
  readonly #control: ControlStore;
  readonly #codec: RowCodec;
  /** Once complete, always complete. */
  readonly #complete = new Set<string>();

  constructor(control: ControlStore) {
    this.#control = control;
    this.#codec = new RowCodec(control.dialect, metaTable());
  }

  async isComplete(lookup: Lookup): Promise<boolean> {
    const name = nameOf(lookup);
    if (this.#complete.has(name)) return true;
    const { rows } = await this.#control.run(`select value from ${META_TABLE} where name = ?`, [
      this.#codec.encode("name", name),
    ]);
    const isComplete = rows[0] !== undefined && this.#codec.decode("value", rows[0]["value"]) === COMPLETE;
    if (isComplete) this.#complete.add(name);
    return isComplete;
  }

  async setComplete(lookup: Lookup): Promise<void> {
    const { verb, suffix } = this.#control.capabilities.insertIgnore;
    await this.#control.run(`insert ${verb} into ${META_TABLE} (name, value) values (?, ?) ${suffix}`, [
      this.#codec.encode("name", nameOf(lookup)),
      this.#codec.encode("value", COMPLETE),
    ]);
    this.#complete.add(nameOf(lookup));
  }

  /** Whoever has these lookups no longer writes rows that they do not hear of. */
  async forget(lookups: readonly Lookup[]): Promise<void> {
    const { rows } = await this.#control.run(`select name from ${META_TABLE}`, []);
    const known = new Set(rows.map((row) => this.#codec.decode("name", row["name"])));
    for (const lookup of lookups) {
      const name = nameOf(lookup);
      if (!known.has(name)) continue;
      await this.#control.run(`delete from ${META_TABLE} where name = ?`, [this.#codec.encode("name", name)]);
      this.#complete.delete(name);
    }
  }
}

const nameOf = ({ model }: Lookup): string => `lookup:${model.name}`;
