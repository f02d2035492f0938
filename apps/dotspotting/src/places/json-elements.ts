import { FileRefused } from "./place.ts";

/** One element of the array, as text. */
export interface JsonElement {
  readonly line: number;
  readonly text: string;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const newline = 0x0a;

/**
 * Cuts the elements of one array out of a JSON object that streams by, without parsing anything else.
 *
 * `{"type": …, "features": [ {…}, {…} ], "bbox": …}` with the member "features" gives each `{…}` as text. In
 * memory is one element at a time, and what comes before the array (a file that has none is small enough to be
 * one object, and then `whole` holds it). States: `outside` the array, at some depth; `inside` it, between or
 * in elements. Strings are passed over as strings in either, so that brackets in them count for nothing.
 */
export class JsonElements {
  /** The whole text, if no such array was found. */
  whole: string | undefined;
  readonly #member: string;
  readonly #elementCharactersMax: number;
  #line = 1;
  #state: "outside" | "inside" = "outside";
  #found = false;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** The last complete string at depth 1, and whether a colon came after it. */
  #key: { text: string; colon: boolean } | undefined;
  #stringStart = -1;
  #before = "";
  #beforeCut = false;
  #element = "";
  #elementLine = 0;

  constructor(member: string, elementCharactersMax: number) {
    this.#member = member;
    this.#elementCharactersMax = elementCharactersMax;
  }

  async *read(pieces: AsyncIterable<string>): AsyncGenerator<JsonElement> {
    for await (const piece of pieces) yield* this.#take(piece);
    if (this.#state === "inside" || this.#inString || this.#depth > 0) {
      throw new FileRefused(
        `The file ends in the middle of something, in line ${this.#line}. Is it complete?`,
      );
    }
    if (!this.#found && !this.#beforeCut) this.whole = this.#before;
  }

  *#take(piece: string): Generator<JsonElement> {
    let from = 0;
    for (let at = 0; at < piece.length; at++) {
      const sign = piece.charCodeAt(at);
      if (sign === newline) this.#line++;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (sign === backslash) this.#escaped = true;
        else if (sign === quote) this.#endString(piece, at);
      } else if (sign === quote) {
        this.#inString = true;
        this.#stringStart = this.#before.length + at - from;
        this.#begin();
      } else if (this.#state === "outside") {
        if (this.#outside(sign)) from = at + 1;
      } else if (this.#endsElement(sign)) {
        const text = this.#element + piece.slice(from, at);
        this.#refuseLong(text);
        this.#element = "";
        from = at + 1;
        if (text.trim() !== "") yield { line: this.#elementLine, text: text.trim() };
        this.#elementLine = 0;
        if (sign !== comma) this.#state = "outside";
      } else {
        this.#insideElement(sign);
      }
    }
    this.#keep(piece.slice(from));
  }

  /** Follows the depth outside of the array; true when the array begins here. */
  #outside(sign: number): boolean {
    const opens = sign === 0x7b || sign === 0x5b;
    if (sign === colon && this.#key) this.#key.colon = true;
    if (opens && sign === 0x5b && this.#depth === 1 && this.#key?.colon && this.#key.text === this.#member) {
      this.#state = "inside";
      this.#found = true;
      this.#before = "";
      this.#key = undefined;
      return true;
    }
    if (opens) this.#depth++;
    if (sign === 0x7d || sign === 0x5d) this.#depth--;
    if (opens || sign === comma || sign === 0x7d || sign === 0x5d) this.#key = undefined;
    return false;
  }

  #endString(piece: string, at: number): void {
    this.#inString = false;
    if (this.#state !== "outside" || this.#depth !== 1 || this.#key?.colon || this.#found) return;
    const text = (this.#before + piece.slice(0, at)).slice(this.#stringStart + 1);
    this.#key = { text, colon: false };
  }

  #begin(): void {
    if (this.#state === "inside" && this.#elementLine === 0) this.#elementLine = this.#line;
  }

  #insideElement(sign: number): void {
    if (sign > 0x20) this.#begin();
    if (sign === 0x7b || sign === 0x5b) this.#depth++;
    if (sign === 0x7d || sign === 0x5d) this.#depth--;
  }

  /** A comma or the closing bracket at the array's own depth, which is 1 here: the array itself is not counted. */
  #endsElement(sign: number): boolean {
    return this.#depth === 1 && (sign === comma || sign === 0x5d);
  }

  #keep(text: string): void {
    if (this.#state === "inside") {
      this.#element += text;
      this.#refuseLong(this.#element);
    } else if (!this.#found) {
      this.#before += text;
      if (this.#before.length > this.#elementCharactersMax) {
        throw new FileRefused("There is no list of features near the beginning of the file.");
      }
    }
  }

  #refuseLong(element: string): void {
    if (element.length <= this.#elementCharactersMax) return;
    throw new FileRefused(`A feature is longer than can be read, beginning in line ${this.#elementLine}.`);
  }
}
