/**
 * Each row once, while tenants move: the answer to a question that goes to all shards.
 *
 *     look at main ─▶ ask the shards ─▶ first rows of all ─▶ look again: nothing has begun, nothing has cut over? ─▶ hand out
 *                                                                  no ─▶ open all snapshots ─▶ look: nothing has cut over? ─▶ ask in them
 *                                                                                └──────────────── no ◀──┘
 *
 * A shard's statement shows one moment, which lies behind the first look and before its first rows. The look before may be an old one, as long as nothing was under way then; and where
 * nothing is, the second one is put while the shards work, since a mover keeps quiet for a moment (`QUIET_MS`). So a query costs one small select of main where nothing moves, beside
 * its own work, and many at a time share it. Where something was under way, the shards' statements leave out what their own residences
 * say is not theirs (`doubtful-keys.ts`). The second way is for when that was not enough: it needs quiet for as long as it takes to open the snapshots, not for as long as the
 * statements run. docs/internals/fan-out.md has the reasons.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { TesseraeError } from "../../base/errors.ts";
import type { FederationModel, SchemaModel } from "../../schema/model.ts";
import type { Target } from "../../session/target.ts";
import type {
  AskedShard,
  ShardSnapshot,
  SteadyAnswer,
  SteadyQuestion,
  SteadyReads,
} from "../run/steady-reads.ts";
import type { CaughtUpReplicas } from "./caught-up-replicas.ts";
import { doubtfulKeys } from "./doubtful-keys.ts";
import { type DoubtfulKeys, ownRows } from "./key-conditions.ts";
import { keyedSources } from "./keyed-sources.ts";
import { LooksAtMain } from "./looks-at-main.ts";
import { hasBegun, hasCutOver, type MovesSeen, type MovesUnderWay, underWay } from "./moves-seen.ts";
import { openSnapshots } from "./shard-snapshots.ts";
import type { SteadyInternals } from "./steady-points.ts";

/** How often snapshots are opened in which somebody cut over meanwhile. */
const CAREFUL_TRIES_MAX = 30;
const PAUSE_MS_MAX = 50;

export interface SteadyMovesOptions {
  readonly schema: SchemaModel;
  readonly federation: FederationModel;
  /** The shards themselves, by number. */
  readonly shards: ReadonlyMap<number, Target>;
  readonly moves: MovesUnderWay;
  readonly replicas: CaughtUpReplicas;
  readonly internals: SteadyInternals | undefined;
}

export class SteadyMoves implements SteadyReads {
  readonly #options: SteadyMovesOptions;
  readonly #looks: LooksAtMain;

  constructor(options: SteadyMovesOptions) {
    this.#options = options;
    this.#looks = new LooksAtMain({
      look: async (before) => {
        await this.#at("look");
        return options.moves.look(before);
      },
    });
  }

  async begin({ shards, signal }: SteadyQuestion): Promise<SteadyAnswer> {
    const before = await this.#lookBefore(shards);
    const doubtful = doubtfulKeys(this.#options.federation.name, before);
    const asked = shards.map((shard) => ({
      ...shard,
      target: this.#options.replicas.caughtUp(shard),
      statement: this.#ownRows(shard, doubtful),
    }));
    this.#looks.lookAhead(before);
    await this.#at("begun");
    return {
      shards: asked,
      verdict: async (failed, giveUp) => {
        await this.#at("asked");
        if ((await this.#wasSteady(before)) && this.#options.internals?.alwaysCarefully !== true)
          return "right";
        this.#options.replicas.forget();
        await giveUp?.();
        return this.#carefully(
          shards.filter(({ shard }) => !failed.has(shard)),
          signal,
        );
      },
    };
  }

  /**
   * An old look will do where nothing was under way, and for replicas any: what they show must be behind it, and they may be slow to come there. Otherwise a new one is likelier to
   * hold to the end.
   */
  async #lookBefore(shards: readonly AskedShard[]): Promise<MovesSeen> {
    const { seen } = this.#looks;
    const { replicas } = this.#options;
    if (replicas.concerns(shards)) return replicas.lookBefore(() => this.#looks.look(seen));
    if (seen !== undefined && underWay(seen).length === 0) return seen;
    return this.#looks.look(seen);
  }

  /** Whether each row was seen once in what was read between the look and this call. */
  async #wasSteady(before: MovesSeen): Promise<boolean> {
    if (await this.#looks.isQuietSince(before)) return true;
    const after = await this.#looks.look(before);
    return !hasBegun(before, after) && !hasCutOver(before, after);
  }

  async #carefully(shards: readonly AskedShard[], signal: AbortSignal): Promise<readonly ShardSnapshot[]> {
    const targets = new Map(
      shards.map(({ shard, target }) => [shard, this.#options.shards.get(shard) ?? target]),
    );
    const { name: federation } = this.#options.federation;
    for (let tries = 1; tries <= CAREFUL_TRIES_MAX; tries++) {
      const before = await this.#looks.look(this.#looks.seen);
      const snapshots = await openSnapshots(targets, {
        federation,
        signal,
        at: (point, shard) => this.#at(point, shard),
      });
      let isOver = true;
      try {
        await this.#at("opened");
        const after = await this.#looks.look(before);
        if (!hasCutOver(before, after)) {
          const doubtful = doubtfulKeys(federation, before, after);
          const statements = new Map(shards.map((shard) => [shard.shard, this.#ownRows(shard, doubtful)]));
          isOver = false;
          return snapshots.map((open) => ({
            ...open,
            statement: statements.get(open.shard) as AskedShard["statement"],
          }));
        }
      } finally {
        if (isOver) await Promise.all(snapshots.map((open) => open.end(false)));
      }
      signal.throwIfAborted();
      await sleep(Math.random() * Math.min(PAUSE_MS_MAX, 2 ** tries));
    }
    throw new TesseraeError(
      "FAN_OUT_UNSTEADY",
      `In each of ${CAREFUL_TRIES_MAX} tries a tenant changed its shard while the query's snapshots were opened, so that its rows could have been counted twice or not at all. Make the query again, or move fewer tenants at a time.`,
      { cluster: "shards", federation },
    );
  }

  #ownRows(
    { shard, statement }: AskedShard,
    doubtful: ReadonlyMap<number, DoubtfulKeys>,
  ): AskedShard["statement"] {
    const keys = doubtful.get(shard);
    return keys === undefined ? statement : keyedSources(statement, this.#options, ownRows(keys));
  }

  #at(point: Parameters<NonNullable<SteadyInternals["at"]>>[0], shard?: number): void | Promise<void> {
    return this.#options.internals?.at?.(point, shard);
  }
}
