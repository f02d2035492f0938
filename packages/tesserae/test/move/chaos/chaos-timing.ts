/** How long things take in the chaos suite. */

/** Shorter than an application's, so that a schedule of a second crosses it. */
export const LEASE_MS = 100;
