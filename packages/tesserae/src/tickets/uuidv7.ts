/**
 * UUIDs of version 7 (RFC 9562): 48 bits of the time in milliseconds, then a counter of 32 bits (12 before the variant, 20 after it),
 * which begins at random in each millisecond with its highest bit clear and counts up within it, then 42 random bits. So a process never
 * gives an id that sorts before one it gave, whatever the clock does, and two processes do not meet.
 */
import { randomFillSync } from "node:crypto";

const POOL_BYTES = 4096;
const COUNTER_MAX = 2 ** 32 - 1;

const pool = new Uint8Array(POOL_BYTES);
let poolPosition = POOL_BYTES;

let lastMs = -1;
let counter = 0;

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function randomByte(): number {
  if (poolPosition === POOL_BYTES) {
    randomFillSync(pool);
    poolPosition = 0;
  }
  return pool[poolPosition++] as number;
}

function random31(): number {
  return (((randomByte() & 0x7f) << 24) | (randomByte() << 16) | (randomByte() << 8) | randomByte()) >>> 0;
}

/**
 * A new UUID of version 7, as lower-case text. Ids of one process rise strictly; across processes they rise with the clock.
 *
 * @example
 * ```ts
 * import { uuidv7 } from "tesserae";
 *
 * const id: string = uuidv7();
 * ```
 */
export function uuidv7(): string {
  const now = Date.now();
  if (now > lastMs) {
    lastMs = now;
    counter = random31();
  } else if (counter < COUNTER_MAX) {
    counter++;
  } else {
    // The counter ran out within a millisecond, or the clock stands still: borrow the next one.
    lastMs++;
    counter = random31();
  }
  const high = Math.floor(lastMs / 2 ** 16);
  const low = lastMs % 2 ** 16;
  const h = HEX as readonly string[];
  const timeText = `${h[high >>> 24]}${h[(high >>> 16) & 0xff]}${h[(high >>> 8) & 0xff]}${h[high & 0xff]}-${h[low >>> 8]}${h[low & 0xff]}`;
  const counterHigh = counter >>> 20; // 12 bits
  const counterLow = counter & 0xfffff; // 20 bits: 6 beside the variant, 14 after
  const versionText = `${h[0x70 | (counterHigh >>> 8)]}${h[counterHigh & 0xff]}`;
  const variantText = `${h[0x80 | (counterLow >>> 14)]}${h[(counterLow >>> 6) & 0xff]}`;
  const mixed = ((counterLow & 0x3f) << 2) | (randomByte() & 0x03);
  const node = `${h[mixed]}${h[randomByte()]}${h[randomByte()]}${h[randomByte()]}${h[randomByte()]}${h[randomByte()]}`;
  return `${timeText}-${versionText}-${variantText}-${node}`;
}
