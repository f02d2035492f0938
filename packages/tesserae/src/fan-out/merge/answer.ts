/** From combined rows to the answer: having, output, order, offset and limit. */
import { TesseraeError } from "../../base/errors.ts";
import { rowBuilder } from "../../engine/sqlite/row-builder.ts";
import type { FanOutPlan, OutputColumn } from "../fan-out-plan.ts";
import { type Comparison, nullableOrder } from "./compare.ts";
import { compileExpression, type Evaluate } from "./expressions.ts";
import { FirstRows } from "./first-rows.ts";
import type { AnswerRow, MergeLimits, ShardBatch, ShardRow } from "./shard-rows.ts";

export interface Answer {
  /** No more rows are wanted. */
  readonly full: boolean;
  /** The answer's rows that follow from these. */
  take(rows: ShardBatch): AnswerRow[];
  /** Those that follow when there are no more. */
  end(): AnswerRow[];
}

export function answerOf(plan: FanOutPlan, limits: MergeLimits): Answer {
  return plan.order.length === 0 ? new AnswerInTurn(plan) : new AnswerInOrder(plan, limits);
}

type Output = (row: ShardRow) => AnswerRow;

function outputOf(output: readonly OutputColumn[]): Output {
  const build = rowBuilder(output.map(({ name }) => ({ name, narrow: false })));
  if (output.every(({ value }, at) => value.kind === "column" && value.column === at)) return build;
  const values = output.map(({ value }) => compileExpression(value));
  return (row) => build(values.map((evaluate) => evaluate(row)));
}

function havingOf({ having }: FanOutPlan): Evaluate | undefined {
  return having === undefined ? undefined : compileExpression(having);
}

/** The rows come in the order of the answer. */
class AnswerInTurn implements Answer {
  readonly #having: Evaluate | undefined;
  readonly #output: Output;
  #skip: number;
  #left: number;

  constructor(plan: FanOutPlan) {
    this.#having = havingOf(plan);
    this.#output = outputOf(plan.output);
    this.#skip = plan.offset;
    this.#left = plan.limit ?? Number.POSITIVE_INFINITY;
  }

  get full(): boolean {
    return this.#left === 0;
  }

  take(rows: ShardBatch): AnswerRow[] {
    const having = this.#having;
    const kept = having === undefined ? rows : rows.filter((row) => having(row) === true);
    const start = Math.min(this.#skip, kept.length);
    const end = Math.min(kept.length, start + this.#left);
    this.#skip -= start;
    this.#left -= end - start;
    const answer: AnswerRow[] = [];
    for (let at = start; at < end; at++) answer.push(this.#output(kept[at] as ShardRow));
    return answer;
  }

  end(): AnswerRow[] {
    return [];
  }
}

/** A row and the values that it is ordered by, computed once. */
interface Candidate {
  readonly row: ShardRow;
  readonly values: readonly unknown[];
}

/** The rows come in another order than the answer's, so that none is sure of its place before the last has come. */
class AnswerInOrder implements Answer {
  readonly full: boolean;
  readonly #having: Evaluate | undefined;
  readonly #output: Output;
  readonly #values: readonly Evaluate[];
  readonly #offset: number;
  readonly #groupsMax: number;
  readonly #first: FirstRows<Candidate>;

  constructor(plan: FanOutPlan, { groupsMax }: MergeLimits) {
    this.full = plan.limit === 0;
    this.#having = havingOf(plan);
    this.#output = outputOf(plan.output);
    this.#values = plan.order.map(({ value }) => compileExpression(value));
    this.#offset = plan.offset;
    this.#groupsMax = groupsMax;
    this.#first = new FirstRows(
      candidateOrder(plan),
      plan.limit === undefined ? Number.POSITIVE_INFINITY : plan.offset + plan.limit,
    );
  }

  take(rows: ShardBatch): AnswerRow[] {
    for (const row of rows) {
      if (this.#having !== undefined && this.#having(row) !== true) continue;
      this.#first.add({ row, values: this.#values.map((evaluate) => evaluate(row)) });
      if (this.#first.size > this.#groupsMax) throw tooMany(this.#groupsMax);
    }
    return [];
  }

  end(): AnswerRow[] {
    return this.#first
      .sorted()
      .slice(this.#offset)
      .map(({ row }) => this.#output(row));
  }
}

function candidateOrder({ order }: FanOutPlan): Comparison<Candidate> {
  const orders = order.map(nullableOrder);
  return (a, b) => {
    for (let at = 0; at < orders.length; at++) {
      const result = (orders[at] as Comparison<unknown>)(a.values[at], b.values[at]);
      if (result !== 0) return result;
    }
    return 0;
  };
}

function tooMany(groupsMax: number): TesseraeError {
  return new TesseraeError(
    "FAN_OUT_TOO_MANY_GROUPS",
    `The answer's order is computed from all shards' rows, so that its groups are held until the last has come, and there are more than ${groupsMax} of them. Add a limit, order by the columns that are grouped by, raise groupsMax, or ask by fed.gather.`,
    { cluster: "shards", operation: "fan-out" },
  );
}
