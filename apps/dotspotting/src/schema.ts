import { bigint, decimal, defineSchema, federated, global, int, json, text, timestamp } from "tesserae";

/** Who may see a sheet. */
export type Visibility = "public" | "private";

/**
 * The life of a sheet:
 *
 * - `importing`: its file is being read. Nobody else sees it. If the process dies, it stays like this and is shown as interrupted.
 * - `draft`: read, but its owner has to decide: rows were bad, or the same file had been uploaded before.
 * - `ready`: kept.
 * - `deleting`: hidden, its dots are being deleted; a crash leaves it like this and the next start goes on.
 * - `deleted`: only in the lookup, as a tombstone.
 */
export type SheetState = "importing" | "draft" | "ready" | "deleting" | "deleted";

/** What came of reading a file, kept with its sheet. */
export interface ImportReport {
  readonly format: string;
  readonly encoding: string;
  readonly bytes: number;
  /** Bad rows in all. */
  readonly bad: number;
  /** The first of them, with the line each begins on. */
  readonly problems: readonly { readonly line: number; readonly problem: string }[];
  /** West, south, east and north end of the dots, in degrees. */
  readonly bounds: readonly [number, number, number, number] | null;
  /** The id of an earlier sheet made of the same file. */
  readonly sameAs: string | null;
}

/**
 * Main holds the users and the lookups, the shards hold sheets and dots by user. The lookups say whose a sheet or a
 * dot is, so that either is found by its id alone, and carry what a list of sheets of many users shows, so
 * that the front page asks one database. Visibility is a property of the sheet: no dot can disagree with it.
 */
export const schema = defineSchema({
  key: bigint(),
  tables: {
    users: global({
      id: bigint().ticket(),
      name: text(32).unique(),
      password: text(255),
      created: timestamp(),
    }),
    sheets_lookup: global(
      {
        id: bigint().ticket("sheets"),
        user_id: bigint(),
        label: text(200),
        visibility: text(10),
        state: text(10),
        dots: int(),
        /** SHA-256 of the uploaded file. */
        fingerprint: text(64).nullable(),
        /** Some of the dots in a square of a thousand by a thousand: x, y, x, y, … */
        preview: json<readonly number[]>(),
        created: timestamp(),
        /** When an import or a deletion last showed a sign of life. */
        touched: timestamp(),
      },
      {
        indexes: [
          ["state", "visibility", "created", "id"],
          ["user_id", "created", "id"],
          ["user_id", "fingerprint"],
        ],
      },
    ),
    dots_lookup: global(
      {
        id: bigint().ticket("dots"),
        user_id: bigint(),
        sheet_id: bigint(),
        /** A tombstone: the dot was deleted then. */
        deleted: timestamp().nullable(),
      },
      { indexes: [["sheet_id", "id"]] },
    ),
    /** Sheets all of whose dots have their texts. Those imported before there was a search are made good at a start. */
    searchable_sheets: global({ id: bigint() }),
    sheets: federated("user_id", {
      id: bigint().ticket("sheets"),
      user_id: bigint(),
      label: text(200),
      file_name: text(200),
      visibility: text(10),
      state: text(10),
      dots: int(),
      /** The names of the details its dots have. */
      columns: json<readonly string[]>(),
      /** Null until its file is read. */
      report: json<ImportReport>().nullable(),
      created: timestamp(),
    }),
    dots: federated(
      "user_id",
      {
        id: bigint().ticket("dots"),
        user_id: bigint(),
        sheet_id: bigint().references("sheets"),
        latitude: decimal(9, 6),
        longitude: decimal(9, 6),
        label: text(200),
        happened: timestamp().nullable(),
        details: json<Record<string, unknown>>(),
        created: timestamp(),
      },
      { indexes: [["user_id", "sheet_id", "id"]] },
    ),
    /** What a dot is searched by, in the form of `search-text.ts`; the second index is the search's order. */
    dot_texts: federated(
      "user_id",
      {
        id: bigint(),
        user_id: bigint(),
        sheet_id: bigint(),
        created: timestamp(),
        text: text(),
      },
      {
        indexes: [
          ["user_id", "sheet_id", "id"],
          ["created", "id"],
        ],
      },
    ),
  },
});
