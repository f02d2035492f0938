/** Rows of `tesserae_meta` as the tickets use them, in main and on each ticket server. */
import {
  type ControlRunner,
  type ControlStore,
  type ControlTransaction,
  RowCodec,
} from "../engine/control-store.ts";
import { META_TABLE, metaTable } from "../engine/control-tables.ts";

const meta = metaTable();

export class MetaRows {
  readonly #store: ControlStore;
  readonly #codec: RowCodec;

  constructor(store: ControlStore) {
    this.#store = store;
    this.#codec = new RowCodec(store.dialect, meta);
  }

  /** The values of those that are there. */
  async read(runner: ControlRunner, names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const places = names.map(() => "?").join(", ");
    const { rows } = await runner.run(
      `select name, value from ${META_TABLE} where name in (${places})`,
      names.map((name) => this.#codec.encode("name", name)),
    );
    return new Map(
      rows.map((row) => [
        this.#codec.decode("name", row["name"]) as string,
        this.#codec.decode("value", row["value"]) as string,
      ]),
    );
  }

  /** The value, which nobody else changes until the transaction ends. A row that is not there is made, with an empty value. */
  async lock(transaction: ControlTransaction, name: string): Promise<string> {
    const { forUpdate, insertIgnore } = this.#store.capabilities;
    const encoded = this.#codec.encode("name", name);
    const select = `select value from ${META_TABLE} where name = ?${forUpdate}`;
    let { rows } = await transaction.run(select, [encoded]);
    if (rows.length === 0) {
      await transaction.run(
        `insert ${insertIgnore.verb} into ${META_TABLE} (name, value) values (?, ?) ${insertIgnore.suffix}`,
        [encoded, this.#codec.encode("value", "")],
      );
      ({ rows } = await transaction.run(select, [encoded]));
    }
    return this.#codec.decode("value", rows[0]?.["value"]) as string;
  }

  /** Of a row that is there: `lock` sees to it. */
  async write(runner: ControlRunner, name: string, value: string): Promise<void> {
    await runner.run(`update ${META_TABLE} set value = ? where name = ?`, [
      this.#codec.encode("value", value),
      this.#codec.encode("name", name),
    ]);
  }

  /** The value that is there; `value` if there was none. Two processes that write at once agree on the first one's. */
  async writeOnce(name: string, value: string): Promise<string> {
    return this.#store.transaction(async (transaction) => {
      const known = await this.lock(transaction, name);
      if (known !== "") return known;
      await this.write(transaction, name, value);
      return value;
    });
  }
}
