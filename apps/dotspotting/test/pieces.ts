/** Gives the same bytes or characters in pieces: of the sizes said, then all the rest at once. */
export async function* chunked<T extends Uint8Array | string>(
  whole: T,
  sizes: readonly number[],
): AsyncGenerator<T> {
  let at = 0;
  for (const size of sizes) {
    if (at >= whole.length) return;
    yield whole.slice(at, at + size) as T;
    at += size;
  }
  if (at < whole.length) yield whole.slice(at) as T;
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
