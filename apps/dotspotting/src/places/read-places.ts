import { createHash } from "node:crypto";
import { type Delimiter, detectDelimiter, readDelimited } from "./delimited.ts";
import { TextReader } from "./encoding.ts";
import { readGeoJson } from "./geojson.ts";
import { FileRefused, type Reading, type ReadingLimits, readingLimits } from "./place.ts";

/** A file that is being read. What is counted and hashed is complete when `rows` has ended. */
export interface PlaceFile {
  readonly format: "CSV" | "TSV" | "GeoJSON";
  /** The file's columns besides the coordinates and the name; for GeoJSON they are met while reading. */
  readonly columns: readonly string[];
  readonly rows: AsyncIterable<Reading>;
  /** Bytes read so far. */
  readonly bytes: () => number;
  readonly encoding: () => string;
  /** SHA-256 of the whole file, hexadecimal; available once, after the last row. */
  readonly fingerprint: () => string;
}

const headCharactersMax = 64 * 1024;

/**
 * Opens a file of places: finds out its encoding and format by its content and reads its header. The rows follow
 * in one streaming pass, so that memory holds a few of them, whatever the file's size.
 *
 * Throws `FileRefused` here, or later from `rows`, when the file as a whole cannot be read.
 *
 * @example
 * const file = await openPlaces(createReadStream("airports.csv"));
 * for await (const { line, place, problem } of file.rows) console.log(line, problem ?? place?.label);
 */
export async function openPlaces(
  bytes: AsyncIterable<Uint8Array>,
  limits: ReadingLimits = readingLimits,
): Promise<PlaceFile> {
  const hash = createHash("sha256");
  let count = 0;
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      hash.update(chunk);
      count += chunk.byteLength;
      yield chunk;
    }
  }
  const reader = new TextReader();
  const { head, text } = await withHead(reader.read(hashed()));
  if (head.trim() === "") throw new FileRefused("The file is empty.");
  const json = head.trimStart().startsWith("{");
  const delimiter: Delimiter = detectDelimiter(head);
  const table = json ? readGeoJson(text, limits) : await readDelimited(text, delimiter, limits);
  return {
    format: json ? "GeoJSON" : delimiter === "\t" ? "TSV" : "CSV",
    columns: table.columns,
    rows: atMost(table.rows, limits.rowsMax),
    bytes: () => count,
    encoding: () => (reader.encoding === "ASCII" ? "UTF-8" : reader.encoding),
    fingerprint: () => hash.digest("hex"),
  };
}

/** Looks at the beginning of a text (its first line, if that is not too long) and gives the whole text again. */
async function withHead(
  pieces: AsyncGenerator<string>,
): Promise<{ head: string; text: AsyncIterable<string> }> {
  let head = "";
  while (head.length < headCharactersMax && !/\S[^\n\r]*[\n\r]/.test(head)) {
    const next = await pieces.next();
    if (next.done) break;
    head += next.value;
  }
  async function* whole(): AsyncGenerator<string> {
    if (head) yield head;
    yield* pieces;
  }
  return { head, text: whole() };
}

async function* atMost(rows: AsyncIterable<Reading>, rowsMax: number): AsyncGenerator<Reading> {
  let count = 0;
  for await (const row of rows) {
    if (++count > rowsMax) {
      throw new FileRefused(
        `The file has more than ${rowsMax.toLocaleString("en")} rows; please split it.`,
        413,
      );
    }
    yield row;
  }
}
