import { TextDecoder } from "node:util";
import { FileRefused } from "./place.ts";

/**
 * Decodes a file's bytes in one pass, without knowing its encoding beforehand.
 *
 * A byte order mark decides at once; UTF-16 without one shows by its zero bytes. Everything else is ASCII
 * until the first byte above 0x7F, and ASCII reads the same in every remaining encoding: so the choice between
 * UTF-8 and Windows-1252 (which contains Latin-1's letters) is put off until that byte, where a valid UTF-8
 * sequence is nearly always UTF-8 and an invalid one cannot be. Nothing is read twice.
 */
export class TextReader {
  /** "ASCII" until something else is seen. */
  encoding: "ASCII" | "UTF-8" | "UTF-16LE" | "UTF-16BE" | "Windows-1252" = "ASCII";

  async *read(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
    let held: Buffer = Buffer.alloc(0);
    let decoder: TextDecoder | undefined;
    let started = false;
    for await (const chunk of bytes) {
      if (decoder) {
        const text = decoder.decode(chunk, { stream: true });
        if (text) yield text;
        continue;
      }
      held = held.length === 0 ? asBuffer(chunk) : Buffer.concat([held, chunk]);
      if (!started) {
        if (held.length < 4) continue;
        started = true;
        held = this.#start(held);
        decoder = this.#decoder();
      }
      if (!decoder) {
        const { text, rest } = this.#ascii(held, false);
        if (text) yield text;
        held = rest;
        decoder = this.#decoder();
      }
      if (decoder) {
        const text = decoder.decode(held, { stream: true });
        held = Buffer.alloc(0);
        if (text) yield text;
      }
    }
    if (!started) held = this.#start(held);
    decoder ??= this.#decoder();
    if (!decoder) {
      const { text, rest } = this.#ascii(held, true);
      if (text) yield text;
      held = rest;
      decoder = this.#decoder();
    }
    // `stream: true` even for the last bytes: Node's shortcut for a whole buffer reads 0x80–0x9F as Latin-1 in some releases.
    const text = decoder ? decoder.decode(held, { stream: true }) + decoder.decode() : "";
    if (text) yield text;
  }

  #decoder(): TextDecoder | undefined {
    return this.encoding === "ASCII" ? undefined : new TextDecoder(this.encoding.toLowerCase());
  }

  /** Looks at the first bytes; returns what follows the byte order mark. */
  #start(head: Buffer): Buffer {
    refuseBinary(head);
    if (head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf) {
      this.encoding = "UTF-8";
      return head.subarray(3);
    }
    if (head[0] === 0xff && head[1] === 0xfe) {
      this.encoding = "UTF-16LE";
      return head.subarray(2);
    }
    if (head[0] === 0xfe && head[1] === 0xff) {
      this.encoding = "UTF-16BE";
      return head.subarray(2);
    }
    if (head.length >= 4 && head[0] === 0 && head[2] === 0 && head[1] && head[3]) this.encoding = "UTF-16BE";
    if (head.length >= 4 && head[1] === 0 && head[3] === 0 && head[0] && head[2]) this.encoding = "UTF-16LE";
    return head;
  }

  /** Passes ASCII on; at the first other byte decides for UTF-8 or Windows-1252 as soon as its sequence is complete. */
  #ascii(held: Buffer, last: boolean): { text: string; rest: Buffer } {
    const at = held.findIndex((byte) => byte >= 0x80);
    if (at < 0) return { text: held.toString("latin1"), rest: Buffer.alloc(0) };
    const text = held.toString("latin1", 0, at);
    const rest = held.subarray(at);
    const length = sequenceLength(rest[0]!);
    if (length > rest.length && !last) return { text, rest };
    this.encoding = length > 0 && isUtf8(rest.subarray(0, length)) ? "UTF-8" : "Windows-1252";
    return { text, rest };
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** How long a UTF-8 sequence with this first byte is; 0 if none begins with it. */
function sequenceLength(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 0;
}

function isUtf8(bytes: Buffer): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

const binaries: readonly [signature: readonly number[], advice: string][] = [
  [
    [0x50, 0x4b, 0x03, 0x04],
    "This is a zip archive, perhaps an Excel workbook. Save the sheet as CSV, or unpack the archive, and upload that.",
  ],
  [[0xd0, 0xcf, 0x11, 0xe0], "This is an old Excel workbook. Save the sheet as CSV and upload that."],
  [[0x1f, 0x8b], "This is a gzip archive. Unpack it and upload what is inside."],
  [[0x25, 0x50, 0x44, 0x46], "This is a PDF. Dots can be read from CSV, TSV and GeoJSON."],
  [[0x89, 0x50, 0x4e, 0x47], "This is a picture. Dots can be read from CSV, TSV and GeoJSON."],
  [[0xff, 0xd8, 0xff], "This is a picture. Dots can be read from CSV, TSV and GeoJSON."],
];

function refuseBinary(head: Buffer): void {
  for (const [signature, advice] of binaries) {
    if (signature.every((byte, index) => head[index] === byte)) throw new FileRefused(advice, 415);
  }
}
