/** A place read from a file: what becomes a dot. */
export interface Place {
  /** Degrees north, a decimal with exactly six fraction digits: "34.059281". */
  readonly latitude: string;
  /** Degrees east, a decimal with exactly six fraction digits: "-118.273976". */
  readonly longitude: string;
  /** What the place is called, at most 200 characters; may be empty. */
  readonly label: string;
  /** When it happened or was made, if the file says so in a form that can be read. */
  readonly happened: Date | null;
  /** The file's other columns as they were, in the file's order. */
  readonly details: Record<string, unknown>;
}

/** One row of a file: a place, or the reason why it is none. */
export type Reading =
  | { readonly line: number; readonly place: Place; readonly problem?: undefined }
  | { readonly line: number; readonly problem: string; readonly place?: undefined };

/** Limits of reading one file. Each is checked while the file streams by. */
export interface ReadingLimits {
  /** Rows of one file, good and bad ones together. */
  readonly rowsMax: number;
  readonly columnsMax: number;
  /** Characters of one record or feature, and of the header. */
  readonly recordCharactersMax: number;
  /** Characters of one row's details, written as JSON. */
  readonly detailsCharactersMax: number;
}

export const readingLimits: ReadingLimits = {
  rowsMax: 500_000,
  columnsMax: 200,
  recordCharactersMax: 1024 * 1024,
  detailsCharactersMax: 64 * 1024,
};

/** The whole file cannot be read; the message says why and what would help, in words for the person who uploaded it. */
export class FileRefused extends Error {
  override readonly name = "FileRefused";
  /** The HTTP status that tells the same. */
  readonly status: 400 | 413 | 415 | 422;

  constructor(message: string, status: 400 | 413 | 415 | 422 = 422) {
    super(message);
    this.status = status;
  }
}

/** A value of the file as it is shown inside a message: short and on one line. */
export function quoted(value: string): string {
  const oneLine = value.replace(/\s+/g, " ").trim();
  return oneLine.length > 40 ? `“${oneLine.slice(0, 39)}…”` : `“${oneLine}”`;
}
