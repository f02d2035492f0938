const dotsMax = 300;
const side = 1000;

/**
 * Keeps some of the dots that stream by, every one with the same chance (reservoir sampling), and the bounds of all:
 * enough for a picture of the sheet the size of a stamp, in one pass.
 */
export class Preview {
  readonly #random: () => number;
  readonly #kept: [longitude: number, latitude: number][] = [];
  #seen = 0;
  #bounds: [number, number, number, number] | null = null;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  add(longitude: number, latitude: number): void {
    const at = this.#seen < dotsMax ? this.#seen : Math.floor(this.#random() * (this.#seen + 1));
    this.#seen++;
    if (at < dotsMax) this.#kept[at] = [longitude, latitude];
    const [west, south, east, north] = this.#bounds ?? [longitude, latitude, longitude, latitude];
    this.#bounds = [
      Math.min(west, longitude),
      Math.min(south, latitude),
      Math.max(east, longitude),
      Math.max(north, latitude),
    ];
  }

  /** West, south, east, north. */
  get bounds(): readonly [number, number, number, number] | null {
    return this.#bounds;
  }

  /** x, y, x, y, … in a square of a thousand by a thousand, y downwards, in the proportions of a web map. */
  points(): number[] {
    if (!this.#bounds) return [];
    const [west, south, east, north] = this.#bounds;
    const [left, right, top, bottom] = [mercatorX(west), mercatorX(east), mercatorY(north), mercatorY(south)];
    const size = Math.max(right - left, bottom - top) || 1;
    const [dx, dy] = [(size - (right - left)) / 2, (size - (bottom - top)) / 2];
    return this.#kept.flatMap(([longitude, latitude]) => [
      Math.round(((mercatorX(longitude) - left + dx) / size) * side),
      Math.round(((mercatorY(latitude) - top + dy) / size) * side),
    ]);
  }
}

function mercatorX(longitude: number): number {
  return longitude / 360;
}

function mercatorY(latitude: number): number {
  const clamped = Math.max(-85, Math.min(85, latitude));
  return -Math.log(Math.tan(Math.PI / 4 + (clamped * Math.PI) / 360)) / (2 * Math.PI);
}
