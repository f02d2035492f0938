/**
 * A small explicit-state model checker: breadth first over packed states, so that the first violation found has a shortest trace; then, over
 * all states found, whether each of them can still come to an end.
 */

/** A transition that an actor must make sooner or later, or one that it may choose or suffer: a crash, an abort, a takeover. */
export type Kind = "progress" | "choice";

/** Takes the successor in `words`; the label is a function, since it is needed for traces alone. */
export type Emit = (words: Uint32Array, kind: Kind, label: () => string) => void;

export interface CheckedModel {
  /** 32-bit words in a state. */
  readonly words: number;
  initial(words: Uint32Array): void;
  successors(words: Uint32Array, emit: Emit): void;
  /** What is wrong with this state; undefined when it is well. */
  violation(words: Uint32Array): string | undefined;
  /** Everybody has done what they came for. */
  isComplete(words: Uint32Array): boolean;
  describe(words: Uint32Array): string;
}

/** A step of a trace, and the state after it. */
export interface TraceStep {
  label: string;
  state: string;
}

export interface Result {
  states: number;
  transitions: number;
  /** Length of the longest of the shortest paths. */
  depth: number;
  completeStates: number;
  /** Undefined when the model holds. */
  violation: { reason: string; trace: TraceStep[] } | undefined;
}

/** All states found so far: their words one after the other, and a hash table of their numbers. */
class StateTable {
  count = 0;
  private words: Uint32Array<ArrayBuffer>;
  private table = new Uint32Array(1 << 16);
  private readonly width: number;

  constructor(width: number) {
    this.width = width;
    this.words = new Uint32Array(width << 15);
  }

  read(index: number, into: Uint32Array): void {
    const start = index * this.width;
    for (let i = 0; i < this.width; i++) into[i] = this.words[start + i]!;
  }

  /** The state's number, and whether it is new, as `number * 2 + new`: an object for each transition would be half of the run. */
  add(state: Uint32Array): number {
    const mask = this.table.length - 1;
    let slot = hash(state, this.width) & mask;
    for (;;) {
      const found = this.table[slot]!;
      if (found === 0) break;
      if (this.equals(found - 1, state)) return (found - 1) * 2;
      slot = (slot + 1) & mask;
    }
    const index = this.count++;
    if (this.count * this.width > this.words.length) this.words = grown(this.words);
    this.words.set(state, index * this.width);
    this.table[slot] = this.count;
    if (this.count * 2 > this.table.length) this.rehash();
    return index * 2 + 1;
  }

  private equals(index: number, state: Uint32Array): boolean {
    const start = index * this.width;
    for (let i = 0; i < this.width; i++) if (this.words[start + i] !== state[i]) return false;
    return true;
  }

  private rehash(): void {
    this.table = new Uint32Array(this.table.length * 2);
    const mask = this.table.length - 1;
    const state = new Uint32Array(this.width);
    for (let index = 0; index < this.count; index++) {
      this.read(index, state);
      let slot = hash(state, this.width) & mask;
      while (this.table[slot] !== 0) slot = (slot + 1) & mask;
      this.table[slot] = index + 1;
    }
  }
}

function hash(state: Uint32Array, width: number): number {
  let h = 0x9e3779b9;
  for (let i = 0; i < width; i++) {
    h = Math.imul(h ^ state[i]!, 0x85ebca6b);
    h = (h << 13) | (h >>> 19);
  }
  h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
  return (h ^ (h >>> 15)) >>> 0;
}

function grown(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(array.length * 2);
  larger.set(array);
  return larger;
}

/** Lists of numbers that grow. */
class Numbers {
  length = 0;
  values = new Uint32Array(1 << 16);

  push(value: number): void {
    if (this.length === this.values.length) this.values = grown(this.values);
    this.values[this.length++] = value;
  }
}

/** Ends at the first violation, or when all states are known; `maxStates` is a limit on memory and an error when it is met. */
export function explore(model: CheckedModel, maxStates = 20_000_000): Result {
  const table = new StateTable(model.words);
  const parents = new Numbers();
  // Edges of progress alone, state by state: what each state can reach when crashes have stopped.
  const edgeStarts = new Numbers();
  const edges = new Numbers();
  const complete = new Numbers();
  const current = new Uint32Array(model.words);
  let transitions = 0;
  let depth = 0;
  let levelEnd = 1;

  model.initial(current);
  table.add(current);
  parents.push(0);
  let expanding = 0;
  const emit: Emit = (words, kind) => {
    transitions++;
    const added = table.add(words);
    const index = Math.floor(added / 2);
    if (added % 2 === 1) parents.push(expanding);
    if (kind === "progress") edges.push(index);
  };
  const result = (violation: Result["violation"]): Result => ({
    states: table.count,
    transitions,
    depth,
    completeStates: complete.length,
    violation,
  });

  for (; expanding < table.count; expanding++) {
    if (expanding === levelEnd) {
      depth++;
      levelEnd = table.count;
    }
    if (table.count > maxStates) throw new Error(`the model has more than ${maxStates} states`);
    table.read(expanding, current);
    const reason = model.violation(current);
    if (reason !== undefined) return result({ reason, trace: traceTo(model, table, parents, expanding) });
    if (model.isComplete(current)) complete.push(expanding);
    edgeStarts.push(edges.length);
    model.successors(current, emit);
  }
  edgeStarts.push(edges.length);

  const stuck = firstThatCannotComplete(table.count, edgeStarts, edges, complete);
  if (stuck === undefined) return result(undefined);
  return result({ reason: "no way to completion", trace: traceTo(model, table, parents, stuck) });
}

/** Walks backwards from the complete states, over edges of progress. */
function firstThatCannotComplete(
  states: number,
  edgeStarts: Numbers,
  edges: Numbers,
  complete: Numbers,
): number | undefined {
  // The edges turned around: counted by their end first, then filled in from the back of each state's share.
  const shareEnds = new Uint32Array(states + 1);
  for (let edge = 0; edge < edges.length; edge++) shareEnds[edges.values[edge]!]!++;
  for (let state = 1; state <= states; state++) shareEnds[state]! += shareEnds[state - 1]!;
  const origins = new Uint32Array(edges.length);
  for (let state = 0; state < states; state++) {
    for (let edge = edgeStarts.values[state]!; edge < edgeStarts.values[state + 1]!; edge++) {
      const end = edges.values[edge]!;
      shareEnds[end]!--;
      origins[shareEnds[end]!] = state;
    }
  }
  const reached = new Uint8Array(states);
  const queue = new Numbers();
  const reach = (state: number) => {
    if (reached[state] === 1) return;
    reached[state] = 1;
    queue.push(state);
  };
  for (let i = 0; i < complete.length; i++) reach(complete.values[i]!);
  for (let next = 0; next < queue.length; next++) {
    const state = queue.values[next]!;
    // After the filling, a state's entry is where its share begins, and the next one's is where it ends.
    for (let i = shareEnds[state]!; i < shareEnds[state + 1]!; i++) reach(origins[i]!);
  }
  const stuck = reached.indexOf(0);
  return stuck === -1 ? undefined : stuck;
}

/** The way from the first state to this one. Labels are found by taking the steps once more. */
function traceTo(model: CheckedModel, table: StateTable, parents: Numbers, last: number): TraceStep[] {
  const path = [last];
  while (path[0] !== 0) path.unshift(parents.values[path[0]!]!);
  const from = new Uint32Array(model.words);
  const to = new Uint32Array(model.words);
  return path.slice(1).map((index, at) => {
    table.read(path[at]!, from);
    table.read(index, to);
    let label: string | undefined;
    model.successors(from, (words, _kind, labelOf) => {
      if (label === undefined && words.every((word, i) => word === to[i])) label = labelOf();
    });
    return { label: label!, state: model.describe(to) };
  });
}
