/** A limit to the wait for somebody else's answer. */

/** Rejects with `late()` when `work` has not ended after `timeoutMs`. What `work` does later is nobody's concern any more. */
export function withDeadline<T>(work: Promise<T>, timeoutMs: number, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      // A process that was busy for so long has perhaps not read yet what is there to be read: let it, and then judge.
      setImmediate(() => reject(late()));
    }, timeoutMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
