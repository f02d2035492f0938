/** How long things take in the chaos suite. */

/** Shorter than an application's, so that a schedule of a second crosses it. */
export const LEASE_MS = 100;

/** How long a move keeps the source's rows: longer than the lease, and than any statement that has not yet met the guard. */
export const GRACE_MS = LEASE_MS + 50;

/** A mover that shows no sign of life for so long is taken for dead: shorter than some live ones are silent, so that they are taken over, too. */
export const RUNNER_SILENT_MS = 700;
