/**
 * One writer's work on one key: random inserts, updates, deletes, multi-row transactions under one marker, swaps under the second unique key,
 * changed primary keys, rows that refer to themselves and each other. It knows what its own rows must be, and notes whatever contradicts
 * that: an update that finds no row, a constraint that fails.
 */
import type { Transaction } from "kysely";
import { isTesseraeError, type ShardDatabase } from "../../../src/index.ts";
import { type ChaosFederation, type ChaosTable, type chaosSchema, rowText } from "./chaos-schema.ts";
import type { LedgerWriter, RowChange } from "./ledger.ts";
import type { SeededRandom } from "./seeded-random.ts";

type Tables = ShardDatabase<(typeof chaosSchema)["$tables"], "default">;

interface Folder {
  readonly id: bigint;
  readonly owner: bigint;
  readonly parent_id: bigint | null;
  readonly version: number;
}

interface Item {
  readonly id: bigint;
  readonly owner: bigint;
  readonly folder_id: bigint | null;
  readonly slot: bigint;
  readonly version: number;
  readonly body: string;
  readonly details: { readonly seen: number; readonly words: readonly string[] } | null;
}

interface Mark {
  readonly id: bigint;
  readonly owner: bigint;
  readonly item_id: bigint;
  readonly marker: bigint;
}

type Row = Folder | Item | Mark;

/** A write: what it does to rows, and how. */
interface Work {
  readonly operation: string;
  /** Rows as they will be; undefined: gone. */
  readonly changes: readonly {
    readonly table: ChaosTable;
    readonly id: bigint;
    readonly row: Row | undefined;
  }[];
  /** What it saw that must not be, once it is acknowledged. */
  run(): Promise<readonly Doubt[]>;
}

/** A row that must be there was not, or not as it must be. In a transaction only its commit tells whether that was seen at all. */
type Doubt = string;

/** The library says that the write had no effect. */
const REFUSED = new Set([
  "GUARD_REFUSED",
  "DEADLOCK",
  "SERIALIZATION",
  "LOCK_TIMEOUT",
  "CONNECT_FAILED",
  "PRIMARY_NOT_FOUND",
  "CONNECTION_LIMIT",
  "READ_STALE",
]);
/** Nobody knows. */
const UNKNOWN = new Set(["CONNECTION_LOST"]);

const BODIES = ["", "plain", "ünïcödé 🜁 \u{10ffff}", "quote ' \" \\ back", "0".repeat(300)];

export class KeyWriter {
  readonly #fed: ChaosFederation;
  readonly #ledger: LedgerWriter;
  readonly #random: SeededRandom;
  readonly #key: bigint;
  #nextId: bigint;
  readonly #folders = new Map<bigint, Folder>();
  readonly #items = new Map<bigint, Item>();
  readonly #marks = new Map<bigint, Mark>();

  /** `firstId`: ids from there on, up to a million of them, are this writer's alone; so are those numbers as slots. */
  constructor(options: {
    readonly fed: ChaosFederation;
    readonly ledger: LedgerWriter;
    readonly random: SeededRandom;
    readonly key: bigint;
    readonly firstId: bigint;
  }) {
    this.#fed = options.fed;
    this.#ledger = options.ledger;
    this.#random = options.random;
    this.#key = options.key;
    this.#nextId = options.firstId;
  }

  /** One write. True when it was acknowledged. */
  async writeOnce(): Promise<boolean> {
    const work = this.#draw();
    const changes: RowChange[] = work.changes.map(({ table, id, row }) => ({
      table,
      key: `${this.#key}`,
      id: `${id}`,
      after: row === undefined ? null : rowText({ ...row }),
    }));
    const write = this.#ledger.intend(work.operation, changes);
    try {
      const doubts = await work.run();
      if (doubts.length > 0) throw new Error(doubts.join("; "));
    } catch (error) {
      this.#failed(write, work, error);
      return false;
    }
    this.#ledger.end(write, "acknowledged");
    for (const { table, id, row } of work.changes) this.#remember(table, id, row);
    return true;
  }

  #failed(write: number, work: Work, error: unknown): void {
    const code = isTesseraeError(error) ? error.code : "none";
    if (REFUSED.has(code)) {
      this.#ledger.end(write, "refused", code);
      return;
    }
    if (!UNKNOWN.has(code)) {
      const says = error instanceof Error ? `${code} ${error.message}` : String(error);
      this.#ledger.strange(`write ${write} (${work.operation}) of key ${this.#key}: ${says}`);
    }
    this.#ledger.end(write, "unknown", code);
    // These rows may be either way from now on. What refers to them is left alone with them.
    const lost = new Set(work.changes.map(({ id }) => id));
    for (const id of lost) for (const rows of [this.#folders, this.#items, this.#marks]) rows.delete(id);
    for (const folder of this.#folders.values())
      if (folder.parent_id !== null && lost.has(folder.parent_id)) this.#folders.delete(folder.id);
    for (const item of this.#items.values())
      if (item.folder_id !== null && lost.has(item.folder_id)) this.#items.delete(item.id);
    for (const mark of this.#marks.values()) if (lost.has(mark.item_id)) this.#marks.delete(mark.id);
  }

  #remember(table: ChaosTable, id: bigint, row: Row | undefined): void {
    const rows = (table === "folders" ? this.#folders : table === "items" ? this.#items : this.#marks) as Map<
      bigint,
      Row
    >;
    if (row === undefined) rows.delete(id);
    else rows.set(id, row);
  }

  #draw(): Work {
    const items = [...this.#items.values()];
    if (items.length < 3) return this.#insertItems();
    const free = items.filter(({ id }) => ![...this.#marks.values()].some(({ item_id }) => item_id === id));
    const draw = this.#random.int(1, 100);
    if (draw <= 12) return this.#insertItem();
    if (draw <= 20) return this.#insertItems();
    if (draw <= 38) return this.#updateItem(this.#random.pick(items));
    if (draw <= 55) return this.#swapSlots(this.#random.some(items, 2) as [Item, Item]);
    if (draw <= 72) return this.#markItems(this.#random.some(items, this.#random.int(2, 3)));
    if (draw <= 80) return this.#writeFolders();
    if (draw <= 88 && free.length > 0) return this.#deleteItem(this.#random.pick(free));
    if (draw <= 95 && free.length > 0) return this.#renumberItem(this.#random.pick(free));
    return this.#deleteMarked(this.#random.pick(items));
  }

  #id(): bigint {
    this.#nextId += 1n;
    return this.#nextId;
  }

  #newItem(): Item {
    const id = this.#id();
    const folders = [...this.#folders.keys()];
    return {
      id,
      owner: this.#key,
      folder_id: folders.length > 0 && this.#random.chance(0.6) ? this.#random.pick(folders) : null,
      slot: id,
      version: 1,
      body: this.#random.pick(BODIES),
      details: this.#random.chance(0.3) ? null : { seen: this.#random.int(0, 9), words: ["a", "é"] },
    };
  }

  #insertItem(): Work {
    const row = this.#newItem();
    return {
      operation: "insert",
      changes: [{ table: "items", id: row.id, row }],
      run: async () => {
        await this.#session.insertInto("items").values(row).execute();
        return [];
      },
    };
  }

  /** One statement with several rows. */
  #insertItems(): Work {
    const rows = [this.#newItem(), this.#newItem(), this.#newItem()];
    return {
      operation: "insert of several",
      changes: rows.map((row) => ({ table: "items", id: row.id, row })),
      run: async () => {
        await this.#session.insertInto("items").values(rows).execute();
        return [];
      },
    };
  }

  #updateItem(item: Item): Work {
    const slot = this.#random.chance(0.3) ? this.#id() : item.slot;
    const row = { ...item, version: item.version + 1, body: this.#random.pick(BODIES), slot };
    const { version, body } = row;
    return {
      operation: "update",
      changes: [{ table: "items", id: row.id, row }],
      run: async () =>
        unlessOne(
          await this.#session
            .updateTable("items")
            .set({ version, body, slot })
            .where("id", "=", item.id)
            .where("version", "=", item.version)
            .executeTakeFirst(),
        ),
    };
  }

  #deleteItem(item: Item): Work {
    return {
      operation: "delete",
      changes: [{ table: "items", id: item.id, row: undefined }],
      run: async () =>
        unlessOne(await this.#session.deleteFrom("items").where("id", "=", item.id).executeTakeFirst()),
    };
  }

  /** Another primary key: the guard logs both. */
  #renumberItem(item: Item): Work {
    const row = { ...item, id: this.#id(), version: item.version + 1 };
    const { id, version } = row;
    return {
      operation: "change of the primary key",
      changes: [
        { table: "items", id: item.id, row: undefined },
        { table: "items", id, row },
      ],
      run: async () =>
        unlessOne(
          await this.#session
            .updateTable("items")
            .set({ id, version })
            .where("id", "=", item.id)
            .executeTakeFirst(),
        ),
    };
  }

  #swapSlots([a, b]: readonly [Item, Item]): Work {
    const newA = { ...a, slot: b.slot, version: a.version + 1 };
    const newB = { ...b, slot: a.slot, version: b.version + 1 };
    return {
      operation: "swap of unique values",
      changes: [
        { table: "items", id: a.id, row: newA },
        { table: "items", id: b.id, row: newB },
      ],
      run: () =>
        this.#transaction(async (trx, doubts) => {
          await this.#setSlot(trx, doubts, a, -a.slot, newA.version);
          await this.#setSlot(trx, doubts, b, newB.slot, newB.version);
          await this.#setSlot(trx, doubts, a, newA.slot, newA.version);
        }),
    };
  }

  async #setSlot(
    trx: Transaction<Tables>,
    doubts: Doubt[],
    item: Item,
    slot: bigint,
    version: number,
  ): Promise<void> {
    doubts.push(
      ...unlessOne(
        await trx.updateTable("items").set({ slot, version }).where("id", "=", item.id).executeTakeFirst(),
      ),
    );
  }

  /** Several rows of two tables under one marker: a half of it would be seen. */
  #markItems(items: readonly Item[]): Work {
    const marker = this.#id();
    const marks = items.map((item) => ({ id: this.#id(), owner: this.#key, item_id: item.id, marker }));
    const marked = items.map((item) => ({ ...item, version: item.version + 1, body: `marked ${marker}` }));
    return {
      operation: "transaction under a marker",
      changes: [
        ...marks.map((row) => ({ table: "marks" as const, id: row.id, row })),
        ...marked.map((row) => ({ table: "items" as const, id: row.id, row })),
      ],
      run: () =>
        this.#transaction(async (trx, doubts) => {
          for (const [index, { id, version, body }] of marked.entries()) {
            doubts.push(
              ...unlessOne(
                await trx.updateTable("items").set({ version, body }).where("id", "=", id).executeTakeFirst(),
              ),
            );
            // The key's residence is held by now: whatever this reads is what is true.
            const read = await trx.selectFrom("items").selectAll().where("id", "=", id).executeTakeFirst();
            if (read === undefined || rowText(read) !== rowText({ ...marked[index] }))
              doubts.push(`item ${id} reads as ${JSON.stringify(read, showBigint)}, not as just written`);
            await trx
              .insertInto("marks")
              .values(marks[index] as Mark)
              .execute();
          }
        }),
    };
  }

  /** A folder that is its own parent, or a child below another, and a folder that gets a new parent. */
  #writeFolders(): Work {
    const folders = [...this.#folders.values()];
    const id = this.#id();
    const parent_id = folders.length === 0 || this.#random.chance(0.3) ? id : this.#random.pick(folders).id;
    const created: Folder = { id, owner: this.#key, parent_id, version: 1 };
    const child = folders.length === 0 ? undefined : this.#random.pick(folders);
    const moved = child === undefined ? undefined : { ...child, parent_id: id, version: child.version + 1 };
    return {
      operation: "folders",
      changes: [created, ...(moved === undefined ? [] : [moved])].map((row) => ({
        table: "folders",
        id: row.id,
        row,
      })),
      run: () =>
        this.#transaction(async (trx, doubts) => {
          await trx.insertInto("folders").values(created).execute();
          if (moved === undefined) return;
          const { version } = moved;
          doubts.push(
            ...unlessOne(
              await trx
                .updateTable("folders")
                .set({ parent_id: id, version })
                .where("id", "=", moved.id)
                .executeTakeFirst(),
            ),
          );
        }),
    };
  }

  #deleteMarked(item: Item): Work {
    const marks = [...this.#marks.values()].filter(({ item_id }) => item_id === item.id);
    return {
      operation: "delete with what refers to it",
      changes: [
        ...marks.map(({ id }) => ({ table: "marks" as const, id, row: undefined })),
        { table: "items", id: item.id, row: undefined },
      ],
      run: () =>
        this.#transaction(async (trx, doubts) => {
          for (const { id } of marks)
            doubts.push(...unlessOne(await trx.deleteFrom("marks").where("id", "=", id).executeTakeFirst()));
          doubts.push(
            ...unlessOne(await trx.deleteFrom("items").where("id", "=", item.id).executeTakeFirst()),
          );
        }),
    };
  }

  get #session() {
    return this.#fed.at(this.#key);
  }

  /** The body may run several times; what counts is what it saw the last time. */
  async #transaction(
    body: (trx: Transaction<Tables>, doubts: Doubt[]) => Promise<void>,
  ): Promise<readonly Doubt[]> {
    let doubts: Doubt[] = [];
    await this.#session.transaction().execute(async (trx) => {
      doubts = [];
      await body(trx, doubts);
    });
    return doubts;
  }
}

function showBigint(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}` : value;
}

/** An acknowledged row was there for the statement, or there is a doubt. */
function unlessOne(result: { readonly numUpdatedRows?: bigint; readonly numDeletedRows?: bigint }): Doubt[] {
  const rows = result.numUpdatedRows ?? result.numDeletedRows;
  return rows === 1n ? [] : [`${rows} rows were met instead of one`];
}
