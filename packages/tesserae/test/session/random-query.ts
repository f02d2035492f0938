/**
 * Random statements over the tables `sheets`, `dots` and `themes`, built from a list of numbers: the same numbers give the same statement on any
 * Kysely instance. Each query gives the columns id, label and n, or groups by label; where it has a limit, its order is total, so that its result is one
 * set of rows.
 */
import { type Kysely, sql } from "kysely";
import type { AnyDatabase, Built } from "./offline-kysely.ts";

export interface Features {
  readonly joins: readonly ("innerJoin" | "leftJoin" | "rightJoin" | "fullJoin" | "crossJoin")[];
  readonly lateral: boolean;
  readonly intersect: boolean;
  readonly upsert: "on conflict" | "on duplicate key";
  readonly insertOrReplace: boolean;
  readonly updateFrom: boolean;
  readonly deleteUsing: "postgres" | "mysql" | undefined;
  readonly returning: { readonly insert: boolean; readonly update: boolean; readonly delete: boolean };
  /** Queries of the table that is written may stand in its own update or delete. */
  readonly selfReference: boolean;
  readonly withBeforeWrites: boolean;
  /** A derived table may name columns of a query further out. */
  readonly correlatedDerived: boolean;
}

type Kind = "id" | "label" | "n";
/** A source with its visible name; every source has the columns id, label and n. */
interface Source {
  readonly item: AnyDatabase;
  readonly alias: string;
}

const COLUMNS = ["id", "label", "n"] as const;
const LABELS = ["a", "b", "it's", "", "%"];

export class RandomQuery {
  readonly #db: Kysely<AnyDatabase>;
  readonly #numbers: readonly number[];
  readonly #features: Features;
  #at = 0;
  #aliases = 0;
  #ctes: string[] = [];
  /** How many sources the statement may still name: a product of many is slow, and says no more than one of few. */
  #sourcesLeft = 8;
  /** The table being written, where the engine takes no query of it. */
  #written: string | undefined;

  constructor(db: Kysely<AnyDatabase>, numbers: readonly number[], features: Features) {
    this.#db = db;
    this.#numbers = numbers;
    this.#features = features;
  }

  select(): Built {
    return this.#withCtes((db) => this.#query(db, 3, []));
  }

  statement(): Built & { execute(): Promise<unknown> } {
    return this.#pick<() => AnyDatabase>([
      () => this.#update(),
      () => this.#delete(),
      () => this.#insert(),
      () => this.#insertSelect(),
      () => this.#upsert(),
    ])();
  }

  #draw(count: number): number {
    const value = this.#numbers[this.#at++] ?? 0;
    return value % count;
  }

  #chance(count: number): boolean {
    return this.#draw(count) === 1;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#draw(choices.length)] as T;
  }

  #seenInside(aliases: readonly string[]): readonly string[] {
    return this.#features.correlatedDerived ? aliases : [];
  }

  #alias(): string {
    return `s${++this.#aliases}`;
  }

  #withCtesBeforeWrite(build: (db: Kysely<AnyDatabase>) => AnyDatabase): AnyDatabase {
    return this.#features.withBeforeWrites ? this.#withCtes(build) : build(this.#db);
  }

  #withCtes(build: (db: Kysely<AnyDatabase>) => AnyDatabase): AnyDatabase {
    let db: AnyDatabase = this.#db;
    // First, since Kysely writes `recursive` only if the first query is.
    if (this.#chance(6)) {
      const table = this.#table();
      db = db.withRecursive("tree(id, label, n)", (q: AnyDatabase) =>
        q
          .selectFrom(`${table} as base`)
          .select(["base.id", "base.label", "base.n"])
          .where("base.n", "is not", null)
          .union(
            q
              .selectFrom("tree")
              .innerJoin(`${table} as step`, "step.n", "tree.id")
              .select(["step.id", "step.label", "step.n"]),
          ),
      );
      this.#ctes.push("tree");
    }
    const count = this.#chance(3) ? 1 + this.#draw(2) : 0;
    for (let i = 0; i < count; i++) {
      const name = `cte${i}`;
      const body = this.#query(this.#db, 1, []);
      db = this.#chance(4) ? db.with(`${name}(id, label, n)`, () => body) : db.with(name, () => body);
      this.#ctes.push(name);
    }
    const result = build(db);
    this.#ctes = [];
    return result;
  }

  /** A query of the columns id, label and n. */
  #query(db: AnyDatabase, depth: number, outer: readonly string[]): AnyDatabase {
    let query = this.#core(db, depth, outer);
    if (depth > 0 && this.#sourcesLeft > 0 && this.#chance(5)) {
      const arm = this.#core(this.#db, depth - 1, outer);
      const operators = ["union", "unionAll", ...(this.#features.intersect ? ["intersect", "except"] : [])];
      query = query[this.#pick(operators)](arm);
      return query;
    }
    const limited = this.#chance(5);
    if (this.#chance(5)) for (const column of COLUMNS) query = query.orderBy(column);
    else if (limited) {
      for (const column of COLUMNS) query = query.orderBy(column, this.#chance(2) ? "desc" : "asc");
      query = query.limit(1 + this.#draw(4));
      if (this.#chance(3)) query = query.offset(this.#draw(3));
    }
    return query;
  }

  #core(db: AnyDatabase, depth: number, outer: readonly string[]): AnyDatabase {
    const first = this.#source(depth);
    const sources = [first];
    const items = [first.item];
    if (this.#sourcesLeft > 0 && this.#chance(5)) {
      const second = this.#source(depth - 1);
      sources.push(second);
      items.push(second.item);
    }
    let query = db.selectFrom(items.length === 1 ? items[0] : items);
    const joins = this.#draw(4);
    for (let i = 0; i < Math.min(joins, 2) && this.#sourcesLeft > 0; i++)
      query = this.#join(query, sources, depth, outer, items.length > 1);
    const aliases = sources.map(({ alias }) => alias);
    if (this.#chance(3) === false) query = query.where(this.#condition(depth, aliases, outer));
    if (this.#chance(4)) query = query.where(this.#condition(depth, aliases, outer));
    if (this.#chance(7)) return this.#grouped(query, aliases);
    query = query.select((eb: AnyDatabase) =>
      COLUMNS.map((column) => this.#expression(eb, column, depth, aliases).as(column)),
    );
    if (this.#chance(6)) query = query.distinct();
    return query;
  }

  #grouped(query: AnyDatabase, aliases: readonly string[]): AnyDatabase {
    const column = `${this.#pick(aliases)}.label`;
    const counted = `${this.#pick(aliases)}.n`;
    let grouped = query
      .groupBy(column)
      .select((eb: AnyDatabase) => [
        eb.fn.count(counted).as("id"),
        eb.ref(column).as("label"),
        eb.fn.max(counted).as("n"),
      ]);
    if (this.#chance(2))
      grouped = grouped.having(sql<boolean>`count(*) > ${this.#draw(3)} or max(${sql.ref(counted)}) is null`);
    return grouped;
  }

  #table(): string {
    const tables = ["dots", "sheets", "themes"].filter((name) => name !== this.#written);
    return this.#pick(tables);
  }

  #source(depth: number): Source {
    const alias = this.#alias();
    const choice = this.#draw(6);
    this.#sourcesLeft--;
    if (choice === 1 && depth > 0 && this.#sourcesLeft > 0)
      return { alias, item: this.#query(this.#db, depth - 1, []).as(alias) };
    if (choice === 2 && this.#ctes.length > 0)
      return { alias, item: `${this.#pick(this.#ctes)} as ${alias}` };
    return { alias, item: `${this.#table()} as ${alias}` };
  }

  #join(
    query: AnyDatabase,
    sources: Source[],
    depth: number,
    outer: readonly string[],
    comma: boolean,
  ): AnyDatabase {
    // Beside a comma list the engines bind joins differently: only the last source may be named in ON. Cross joins name none.
    const kinds = comma ? (["crossJoin"] as const) : this.#features.joins;
    const kind = this.#pick(kinds);
    const source = this.#source(depth - 1);
    const before = sources.map(({ alias }) => alias);
    if (kind === "innerJoin" && this.#features.lateral && this.#chance(3)) {
      const inner = this.#query(this.#db, 0, before);
      sources.push(source);
      return query.innerJoinLateral(inner.as(source.alias), (join: AnyDatabase) => join.onTrue());
    }
    sources.push(source);
    if (kind === "crossJoin")
      return query.crossJoin === undefined
        ? query.innerJoin(source.item, (join: AnyDatabase) => join.onTrue())
        : query.crossJoin(source.item);
    const column = this.#pick(COLUMNS);
    const other = this.#pick(before);
    // MariaDB and PostgreSQL want a full join's condition to be an equality.
    if (kind === "fullJoin" || this.#chance(2))
      return query[kind](source.item, `${source.alias}.${column}`, `${other}.${column}`);
    return query[kind](source.item, (join: AnyDatabase) =>
      join.on(this.#condition(depth - 1, [...before, source.alias], outer)),
    );
  }

  /** Alone it may be an OR without parentheses: the filter must not be widened by it. */
  #condition(
    depth: number,
    aliases: readonly string[],
    outer: readonly string[],
  ): (eb: AnyDatabase) => AnyDatabase {
    const all = outer.length > 0 && this.#chance(2) ? outer : aliases;
    const alias = this.#pick(all);
    const column = this.#pick(COLUMNS);
    const reference = `${alias}.${column}`;
    const value = this.#value(column);
    const other = `${this.#pick(aliases)}.${column}`;
    const choice = this.#draw(13);
    if (this.#sourcesLeft <= 0) depth = 0;
    if (choice === 8 && depth > 0) {
      const query = this.#query(this.#db, depth - 1, this.#seenInside(aliases));
      const wrapped = this.#db.selectFrom(query.as("w")).select(`w.${column}`);
      return (eb) => eb(reference, this.#draw(2) === 1 ? "in" : "not in", wrapped);
    }
    if (choice === 9 && depth > 0) {
      const query = this.#core(this.#db, depth - 1, aliases);
      return (eb) => (this.#draw(2) === 1 ? eb.exists(query) : eb.not(eb.exists(query)));
    }
    if ((choice === 10 || choice === 11) && depth > 0) {
      const left = this.#condition(depth - 1, aliases, outer);
      const right = this.#condition(depth - 1, aliases, outer);
      return choice === 10
        ? (eb) => eb.or([left(eb), right(eb)])
        : (eb) => eb.not(eb.and([left(eb), right(eb)]));
    }
    switch (choice) {
      case 1:
        return (eb) => eb(reference, "=", value);
      case 2:
        return (eb) => eb(reference, "=", eb.ref(other));
      case 3:
        return (eb) => eb(reference, "in", [value, this.#value(column)]);
      case 4:
        return (eb) => eb.between(reference, value, this.#value(column));
      case 5:
        return () => sql<boolean>`${sql.ref(reference)} = ${value} or 1 = 1`;
      case 6:
        return () =>
          sql<boolean>`${sql.ref(other)} is null or coalesce(${sql.ref(reference)}, ${value}) >= ${value}`;
      case 7:
        return (eb) => eb.or([eb(reference, "is", null), eb(other, "<", value)]);
      case 12:
        return () => sql.raw(`${alias}.n is null or ${alias}.id > 1`) as never;
      default:
        return (eb) => eb(reference, ">=", value);
    }
  }

  #value(kind: Kind): bigint | number | string {
    if (kind === "label") return this.#pick(LABELS);
    return kind === "id" ? BigInt(1 + this.#draw(5)) : this.#draw(5);
  }

  #expression(eb: AnyDatabase, kind: Kind, depth: number, aliases: readonly string[]): AnyDatabase {
    const reference = `${this.#pick(aliases)}.${kind}`;
    const choice = this.#draw(8);
    if (choice === 1 && depth > 0 && this.#sourcesLeft > 0) {
      const query = this.#query(this.#db, depth - 1, this.#seenInside(aliases)).as("v");
      return this.#db.selectFrom(query).select((inner: AnyDatabase) => inner.fn.max(`v.${kind}`).as("m"));
    }
    if (choice === 2) return eb.fn.coalesce(reference, eb.ref(`${this.#pick(aliases)}.${kind}`));
    if (choice === 3 && kind === "n")
      return eb
        .case()
        .when(`${this.#pick(aliases)}.id`, ">", 2n)
        .then(eb.ref(reference))
        .else(eb.ref(reference))
        .end();
    if (choice === 4)
      return sql`coalesce(${sql.ref(reference)}, ${sql.ref(`${this.#pick(aliases)}.${kind}`)})`;
    if (choice === 5 && kind === "id")
      return eb.fn
        .count(reference)
        .over((over: AnyDatabase) => over.partitionBy(`${this.#pick(aliases)}.label`));
    return eb.ref(reference);
  }

  #target(): "dots" | "sheets" {
    const table = this.#pick(["dots", "sheets"] as const);
    if (!this.#features.selfReference) this.#written = table;
    return table;
  }

  #set(): Record<string, unknown> {
    const choice = this.#draw(4);
    if (choice === 1) return { label: this.#pick(LABELS), n: this.#draw(5) };
    if (choice === 2) return { n: sql`n + ${this.#draw(3)}` };
    if (choice === 3)
      return {
        label: sql`case when n > ${this.#draw(4)} or n is null then ${this.#pick(LABELS)} else label end`,
      };
    return { n: this.#draw(5) };
  }

  #update(): AnyDatabase {
    const table = this.#target();
    const aliased = this.#chance(2);
    const alias = aliased ? this.#alias() : table;
    const joined = this.#features.updateFrom && this.#chance(3);
    return this.#withCtesBeforeWrite((db) => {
      let query: AnyDatabase = (db as AnyDatabase).updateTable(aliased ? `${table} as ${alias}` : table);
      const aliases = [alias];
      // Names in the assignments would be ambiguous beside a further source.
      query = query.set(joined ? { n: this.#draw(5), label: this.#pick(LABELS) } : this.#set());
      if (joined) {
        const source = this.#source(1);
        query = query.from(source.item);
        aliases.push(source.alias);
        if (this.#chance(2)) {
          const sources = [source];
          query = this.#join(query, sources, 1, [], false);
          aliases.push((sources[1] as Source).alias);
        }
      }
      if (this.#chance(4) === false) query = query.where(this.#condition(2, aliases, []));
      return this.#features.returning.update && !joined && this.#chance(2) ? query.returning(COLUMNS) : query;
    });
  }

  #delete(): AnyDatabase {
    const table = this.#target();
    const using = this.#features.deleteUsing !== undefined && this.#chance(3);
    return this.#withCtesBeforeWrite((db) => {
      let query: AnyDatabase = db.deleteFrom(table);
      const aliases: string[] = [table];
      if (using) {
        const source = this.#source(1);
        if (this.#features.deleteUsing === "postgres") query = query.using(source.item);
        else query = query.using(table).innerJoin(source.item, (join: AnyDatabase) => join.onTrue());
        aliases.push(source.alias);
      }
      if (this.#chance(5) === false) query = query.where(this.#condition(2, aliases, []));
      return this.#features.returning.delete && !using && this.#chance(2) ? query.returning(COLUMNS) : query;
    });
  }

  /** All rows of a statement give the key, or none: SQLite has no word for a column's default among values. */
  #rows(count: number, id: (index: number) => bigint): Record<string, unknown>[] {
    const key = this.#chance(3) ? { user_id: 1n } : {};
    return Array.from({ length: count }, (_, index) => ({ ...this.#row(), id: id(index), ...key }));
  }

  #row(): Record<string, unknown> {
    const row: Record<string, unknown> = { label: this.#pick(LABELS) };
    if (this.#chance(2)) row["n"] = this.#draw(5);
    if (this.#chance(4)) row["label"] = sql`upper(${this.#pick(LABELS)})`;
    return row;
  }

  #insert(): AnyDatabase {
    const table = this.#target();
    const rows = this.#rows(1 + this.#draw(3), () => BigInt(3 + this.#draw(6)));
    let query = (this.#db as AnyDatabase).insertInto(table).values(rows.length === 1 ? rows[0] : rows);
    if (this.#features.insertOrReplace && this.#chance(5)) query = query.orReplace();
    return this.#returning(query);
  }

  #returning(query: AnyDatabase): AnyDatabase {
    return this.#features.returning.insert && this.#chance(2) ? query.returning([...COLUMNS]) : query;
  }

  #insertSelect(): AnyDatabase {
    const table = this.#target();
    const source = this.#query(this.#db, 2, []);
    // Ids that are hardly taken, so that most inserts succeed; distinct, for the primary key.
    const query = this.#db
      .selectFrom(source.as("src"))
      .select((eb: AnyDatabase) => [
        sql`${eb.ref("src.id")} + 10`.as("id"),
        eb.fn.max("src.label").as("label"),
        eb.fn.max("src.n").as("n"),
      ])
      .where("src.id", "is not", null)
      .where("src.label", "is not", null)
      .groupBy("src.id") as AnyDatabase;
    const arms = this.#chance(3)
      ? query.unionAll(this.#db.selectFrom("themes as t").select([sql`t.id + 20`.as("id"), "t.label", "t.n"]))
      : query;
    const distinct = this.#chance(4) && arms === query ? query.distinct() : arms;
    return this.#returning(
      (this.#db as AnyDatabase)
        .insertInto(table)
        .columns([...COLUMNS])
        .expression(distinct),
    );
  }

  #upsert(): AnyDatabase {
    const table = this.#target();
    const rows = this.#rows(1 + this.#draw(2), (index) => BigInt(1 + this.#draw(3) + index * 3));
    const query = (this.#db as AnyDatabase).insertInto(table).values(rows);
    if (this.#features.upsert === "on duplicate key")
      return query.onDuplicateKeyUpdate({
        label: sql`concat(values(label), ${table === "dots" ? "!" : "?"})`,
        n: this.#draw(5),
      });
    const choice = this.#draw(3);
    if (choice === 1)
      return this.#returning(query.onConflict((oc: AnyDatabase) => oc.column("id").doNothing()));
    return this.#returning(
      query.onConflict((oc: AnyDatabase) => {
        const update = oc
          .column("id")
          .doUpdateSet((eb: AnyDatabase) => ({ label: eb.ref("excluded.label"), n: this.#draw(5) }));
        return choice === 2
          ? update.where(sql<boolean>`${sql.ref(`${table}.n`)} > 1 or ${sql.ref(`${table}.n`)} is null`)
          : update;
      }),
    );
  }
}
