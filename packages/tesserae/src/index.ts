/** The published entry of the library. */
export { ERROR_CODES, type ErrorCode } from "./base/error-codes.ts";
export { type GuardReason, isTesseraeError, TesseraeError } from "./base/errors.ts";
export type { FederationConfig, MovesOptions } from "./configuration.ts";
export { engineFromUrl } from "./configuration.ts";
export {
  type ChooserContext,
  type ChooserRange,
  hashChooser,
  leastLoaded,
  MultiTenantShardChooser,
  rangeChooser,
  type ShardChooser,
  type ShardChooserClass,
  tenantIsShard,
  weightedRandom,
} from "./directory/choosers.ts";
export type { DirectoryState } from "./directory/directory-rows.ts";
export type { ListOptions, TenantPage } from "./directory/tenant-listing.ts";
export type { RangePlace, TenantPlace } from "./directory/tenant-place.ts";
export type { AddOptions, RemoveOptions, ResumeOptions, TenantRegistry } from "./directory/tenants.ts";
export { type MysqlOptions, type MysqlTlsOptions, mysql } from "./engine/mysql/engine.ts";
export { type PostgresOptions, postgres } from "./engine/postgres/engine.ts";
export { type SqliteOptions, sqlite } from "./engine/sqlite/engine.ts";
export type {
  GatherEngineName,
  GatherOptions,
  GatherParameter,
  GatherSource,
  GatherSources,
} from "./fan-out/gather/gather-types.ts";
export type { Gather, GatheredSources } from "./fan-out/gather/gatherer.ts";
export type { Gathering } from "./fan-out/gather/gathering.ts";
export type { Everywhere, EverywhereResult } from "./fan-out/run/everywhere-session.ts";
export type { FanOutDefaults, FanOutOptions, ShardEvent } from "./fan-out/run/fan-out-options.ts";
export type { MissingShard } from "./fan-out/run/fan-out-run.ts";
export {
  EverywhereWriteError,
  type EverywhereWriteReport,
  type MovingWrite,
  type RerunOptions,
  type ShardWrite,
  type WriteState,
} from "./fan-out/write/write-report.ts";
export {
  type DatabaseProbe,
  type Federation,
  type FederationStatus,
  federate,
  type PrimaryStatus,
} from "./federation.ts";
export type { FederationHandle } from "./federation-handle.ts";
export type {
  FederationLookups,
  FindBy,
  LookupStatus,
} from "./federation-lookups.ts";
export type {
  KeyRange,
  MoveKind,
  MoveOptions,
  MoveState,
  MoveStatus,
  MoveStep,
  MoveTarget,
} from "./move/move-status.ts";
export type { ListMovesOptions, Moves, ResumeMovesOptions } from "./move/moves.ts";
export type { Freshness, FreshnessOptions } from "./replicas/freshness.ts";
export type { ReplicaState } from "./replicas/member.ts";
export type { ReplicationOptions } from "./replicas/options.ts";
export type { ReplicaStatus } from "./replicas/replica-set.ts";
export {
  bigint,
  boolean,
  bytes,
  type Column,
  date,
  decimal,
  double,
  int,
  json,
  type TableSequenceOptions,
  text,
  timestamp,
  uuid,
} from "./schema/column.ts";
export { defineSchema, type Schema } from "./schema/define-schema.ts";
export type { KeyValue, LogicalType } from "./schema/logical-type.ts";
export type { KeyOf, MainDatabase, ShardDatabase } from "./schema/row-types.ts";
export { federated, global, reference } from "./schema/table.ts";
export type { Consistency, SessionOptions } from "./session/following.ts";
export type { DoubleValue, RebuildResult } from "./session/lookup-rebuild.ts";
export type { SweepOptions, SweepResult } from "./session/lookup-sweep.ts";
export type { PreparedQuery } from "./session/prepared.ts";
export type { TenantSession } from "./session/sessions.ts";
export { typed } from "./session/typed-expression.ts";
export type { FederationMember, MemberOperation } from "./shard-manager/members.ts";
export type { QueryAllOptions } from "./shard-manager/query-all.ts";
export { type ShardEntry, ShardManager, type ShardManagerOptions } from "./shard-manager.ts";
export type { ApplyResult } from "./synchronizer/synchronizer.ts";
export type {
  FederationTickets,
  RaiseResult,
  TicketCounterStatus,
  TicketServerStatus,
  TicketStatus,
} from "./tickets/federation-tickets.ts";
export type { IdOptions, Ids } from "./tickets/ids.ts";
export type { TicketMode, TicketSequenceOptions } from "./tickets/sequences.ts";
export type { ReplacementResult } from "./tickets/server-replacement.ts";
export type { TicketFinding } from "./tickets/ticket-findings.ts";
export type { GrowthResult } from "./tickets/ticket-growth.ts";
export type { Tickets } from "./tickets/tickets.ts";
export { uuidv7 } from "./tickets/uuidv7.ts";
export { shardsFromLists } from "./topology/server-lists.ts";
