/** How replicas are used; what is not said has these values. */
export interface ReplicationOptions {
  /** A replica further behind its primary than this is left out, in milliseconds. Default 10 000. */
  readonly maxLagMs?: number;
  /** `ownWrites` (default): a read on a replica sees what its context has written before. `none`: it may be older than that. */
  readonly freshness?: "ownWrites" | "none";
  /** How long such a read waits for a replica to catch up, in milliseconds, before it goes to the primary. Default 1 000. */
  readonly freshnessWaitMs?: number;
  /** Who answers where no replica is fit: the `primary` (default), or nobody: REPLICAS_UNAVAILABLE. */
  readonly fallback?: "primary" | "error";
}

export const REPLICATION_DEFAULTS: Required<ReplicationOptions> = Object.freeze({
  maxLagMs: 10_000,
  freshness: "ownWrites",
  freshnessWaitMs: 1_000,
  fallback: "primary",
});
