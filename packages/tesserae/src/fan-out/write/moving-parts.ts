/**
 * The keys of several moves, cut into parts so that each part lies wholly within or wholly outside of every one of them: whatever is asked of a part has one answer for all of its keys. A
 * range that is split on its way, or a key that leaves one, makes more parts of it.
 */
import type { KeyCodec } from "../../directory/key-codec.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import { both, type Condition, contains, inKeys, inMembers, type KeyMember, not } from "./key-members.ts";

export interface KeyPart {
  readonly member: KeyMember;
  /** Keys inside a range that are parts of their own. */
  readonly except: readonly KeyValue[];
}

export function partsOf(keys: KeyCodec, members: readonly KeyMember[]): KeyPart[] {
  const order = (a: KeyValue, b: KeyValue) => keys.compare(a, b);
  const points = distinct(
    keys,
    members.filter(({ kind }) => kind === "p").map(({ low }) => low),
  );
  const ranges = members.filter(({ kind }) => kind === "r");
  const ends = ranges.flatMap(({ low, high }) => (high === null ? [low] : [low, high]));
  const cuts = distinct(keys, ends).sort(order);
  const pieces = cuts
    .map((low, index): KeyMember => ({ kind: "r", low, high: cuts[index + 1] ?? null }))
    .filter((piece) => ranges.some((range) => contains(keys, range, piece)));
  return [
    ...points.map((low): KeyPart => ({ member: { kind: "p", low, high: null }, except: [] })),
    ...pieces.map((member) => ({
      member,
      except: points.filter((low) => contains(keys, member, { kind: "p", low, high: null })),
    })),
  ];
}

/** The rows of all these parts. */
export function inParts(column: string, parts: readonly KeyPart[]): Condition | undefined {
  const except = parts.flatMap((part) => part.except);
  const points = parts.map(({ member }) => member).filter(({ kind }) => kind === "p");
  const ranges = parts.map(({ member }) => member).filter(({ kind }) => kind === "r");
  const inRanges = inMembers(column, ranges);
  if (inRanges === undefined || except.length === 0) return inMembers(column, [...ranges, ...points]);
  const inPieces = both(inRanges, not(inKeys(column, except)));
  const inPoints = inMembers(column, points);
  return inPoints === undefined ? inPieces : either(inPoints, inPieces);
}

/** Whether all keys of a part are among those of the others: a part may have been cut in finer ones since. */
export function isAmong(keys: KeyCodec, part: KeyPart, others: readonly KeyPart[]): boolean {
  return others.some(
    ({ member, except }) =>
      contains(keys, member, part.member) &&
      except.every(
        (key) =>
          !contains(keys, part.member, { kind: "p", low: key, high: null }) ||
          part.except.some((other) => keys.compare(other, key) === 0),
      ),
  );
}

/** What was really written of a part: keys inside a range that had a place of their own were not. */
export function withoutPoints(keys: KeyCodec, part: KeyPart, points: readonly KeyValue[]): KeyPart {
  if (part.member.kind === "p") return part;
  const inside = points.filter((low) => contains(keys, part.member, { kind: "p", low, high: null }));
  return { ...part, except: distinct(keys, [...part.except, ...inside]) };
}

function either(a: Condition, b: Condition): Condition {
  return not(both(not(a), not(b))) as Condition;
}

function distinct(keys: KeyCodec, values: readonly KeyValue[]): KeyValue[] {
  return [...new Map(values.map((value) => [keys.toText(value), value])).values()];
}
