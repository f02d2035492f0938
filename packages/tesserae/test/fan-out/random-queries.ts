/**
 * Random queries over federated and reference tables, all of them ones that the planner has an exact plan for. A query is built from a list of numbers, so that the same numbers
 * give the same query on any Kysely instance: on a session over all shards, and on one database with all rows.
 *
 *     fc.property(randomData, randomNumbers, (data, numbers) => { … new RandomFanOutQuery(db, numbers, features).build() … })
 *
 * `ordered` tells how the answers are compared: where it is true the query's order is total, and the answers are equal row by row; else they hold the same rows in any order.
 */
import fc from "fast-check";
import type { Kysely } from "kysely";
import type { AnyDatabase } from "../session/offline-kysely.ts";
import { comparedValue, OWNERS } from "./random-schema.ts";

export interface QueryFeatures {
  /** `nulls first` and `nulls last`. */
  readonly nullsClause: boolean;
  readonly fullJoin: boolean;
  /** `count(x) filter (where …)` */
  readonly filter: boolean;
  /** Arithmetic on decimals. */
  readonly decimals: boolean;
}

export const QUERY_FEATURES: Readonly<Record<"sqlite" | "mysql" | "postgres", QueryFeatures>> = {
  sqlite: { nullsClause: true, fullJoin: true, filter: true, decimals: false },
  mysql: { nullsClause: false, fullJoin: false, filter: false, decimals: true },
  postgres: { nullsClause: true, fullJoin: true, filter: true, decimals: true },
};

export const randomNumbers = fc.array(fc.nat({ max: 1000 }), { minLength: 60, maxLength: 60 });

export interface RandomBuilt {
  // biome-ignore lint/suspicious/noExplicitAny: the query's columns are drawn.
  readonly query: any;
  readonly ordered: boolean;
}

interface Column {
  readonly ref: string;
  readonly kind: string;
}

interface Source {
  readonly alias: string;
  readonly columns: readonly Column[];
  /** What tells its rows apart. */
  readonly identity: readonly string[];
}

const COLUMNS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  people: {
    owner: "owner",
    id: "bigint",
    theme_id: "bigint",
    name: "text",
    n: "int",
    big: "bigint",
    price: "price",
    wide: "wide",
    ratio: "double",
    open: "boolean",
    seen: "timestamp",
    exact: "exact",
    day: "date",
    token: "uuid",
    data: "bytes",
  },
  notes: { owner: "owner", id: "bigint", person_id: "bigint", label: "text", n: "int", price: "price" },
  tags: { owner: "owner", id: "bigint", note_id: "bigint", label: "text" },
  themes: { id: "bigint", label: "text", n: "int", weight: "price" },
};

const sourceOf = (table: string, alias: string): Source => ({
  alias,
  columns: Object.entries(COLUMNS[table] ?? {}).map(([name, kind]) => ({ ref: `${alias}.${name}`, kind })),
  identity: table === "themes" ? [`${alias}.id`] : [`${alias}.owner`, `${alias}.id`],
});

export class RandomFanOutQuery {
  readonly #db: Kysely<AnyDatabase>;
  readonly #numbers: readonly number[];
  readonly #features: QueryFeatures;
  #at = 0;

  constructor(db: Kysely<AnyDatabase>, numbers: readonly number[], features: QueryFeatures) {
    this.#db = db;
    this.#numbers = numbers;
    this.#features = features;
  }

  build(): RandomBuilt {
    const shapes = [
      () => this.#rows(),
      () => this.#rows(),
      () => this.#groups(),
      () => this.#groups(),
      () => this.#groups(),
      () => this.#distinct(),
      () => this.#union(),
      () => this.#windows(),
      () => this.#derived(),
    ];
    return this.#pick(shapes)();
  }

  readonly #draw = (count: number): number => (this.#numbers[this.#at++] ?? 0) % count;

  #chance(count: number): boolean {
    return this.#draw(count) === 1;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#draw(choices.length)] as T;
  }

  #some<T>(choices: readonly T[], max: number): T[] {
    const left = [...choices];
    const chosen: T[] = [];
    const count = 1 + this.#draw(max);
    while (chosen.length < count && left.length > 0) chosen.push(...left.splice(this.#draw(left.length), 1));
    return chosen;
  }

  /** FROM with joins that stay inside one key. `total`: whether the sources' identities tell all rows apart. */
  // biome-ignore lint/suspicious/noExplicitAny: a builder over whatever was joined.
  #from(): { query: any; sources: Source[]; kept: Source } {
    const kept = sourceOf("people", "p");
    const sources = [kept];
    let query = this.#db.selectFrom("people as p") as AnyDatabase;
    if (this.#chance(3)) {
      const kind = this.#pick(
        this.#features.fullJoin
          ? ["innerJoin", "leftJoin", "rightJoin", "fullJoin"]
          : ["innerJoin", "leftJoin", "rightJoin"],
      );
      const byRow = this.#chance(2);
      query = query[kind]("notes as m", (join: AnyDatabase) => {
        const onKey = join.onRef("m.owner", "=", "p.owner");
        return byRow ? onKey.onRef("m.person_id", "=", "p.id") : onKey;
      });
      sources.push(sourceOf("notes", "m"));
      if (this.#chance(3)) {
        query = query.leftJoin("tags as g", (join: AnyDatabase) =>
          join.onRef("g.owner", "=", "m.owner").onRef("g.note_id", "=", "m.id"),
        );
        sources.push(sourceOf("tags", "g"));
      }
    } else if (this.#chance(5)) {
      query = query.innerJoin("notes as m", (join: AnyDatabase) => join.onTrue());
      query = query.whereRef("m.owner", "=", "p.owner");
      sources.push(sourceOf("notes", "m"));
    }
    if (this.#chance(3)) {
      query = query[this.#pick(["innerJoin", "leftJoin"])]("themes as t", "t.id", "p.theme_id");
      sources.push(sourceOf("themes", "t"));
    }
    return { query: this.#where(query, sources), sources, kept };
  }

  #columns(sources: readonly Source[]): Column[] {
    return sources.flatMap(({ columns }) => columns);
  }

  #where(query: AnyDatabase, sources: readonly Source[]): AnyDatabase {
    let narrowed = query;
    for (let left = this.#draw(3); left > 0; left--)
      narrowed = narrowed.where((eb: AnyDatabase) => this.#condition(eb, sources));
    return narrowed;
  }

  #condition(eb: AnyDatabase, sources: readonly Source[]): AnyDatabase {
    const first = sources[0] as Source;
    switch (this.#draw(8)) {
      case 0:
        return eb.or([this.#comparison(eb, sources), this.#comparison(eb, sources)]);
      case 1:
        return eb.not(this.#comparison(eb, sources));
      case 2:
        return this.#keyCondition(eb, `${first.alias}.owner`);
      case 3:
        return this.#subquery(eb, first);
      default:
        return this.#comparison(eb, sources);
    }
  }

  #comparison(eb: AnyDatabase, sources: readonly Source[]): AnyDatabase {
    const { ref, kind } = this.#pick(this.#columns(sources));
    if (this.#chance(6)) return eb(ref, this.#pick(["is", "is not"]), null);
    if (kind === "text" && this.#chance(4)) return eb(ref, "like", this.#pick(["a%", "%a%", "_", "😀%"]));
    if (kind === "owner") return eb(ref, this.#pick(["=", "<>", "<", ">="]), this.#pick(OWNERS));
    const operator =
      kind === "boolean" ? this.#pick(["=", "<>"]) : this.#pick(["=", "<>", "<", "<=", ">", ">="]);
    return eb(ref, operator, comparedValue(kind, this.#draw));
  }

  #keyCondition(eb: AnyDatabase, owner: string): AnyDatabase {
    const owners = this.#some(OWNERS, 3);
    if (owners.length === 1) return eb(owner, "=", owners[0]);
    return this.#chance(2) ? eb(owner, "in", owners) : eb.or(owners.map((one) => eb(owner, "=", one)));
  }

  /** Bound to the key of the first source, over reference tables alone, or compared with the key. */
  #subquery(eb: AnyDatabase, { alias, columns }: Source): AnyDatabase {
    const own = () => eb.selectFrom("notes as q").whereRef("q.owner", "=", `${alias}.owner`);
    // Whether null is not among a list depends on all shards' rows.
    const member = (left: AnyDatabase, query: AnyDatabase) =>
      this.#chance(2)
        ? eb(left, "in", query)
        : eb.and([eb(`${alias}.owner`, "is not", null), eb(left, "not in", query)]);
    switch (this.#draw(6)) {
      case 0:
        return eb.exists(own().select("q.id").where("q.n", ">", this.#draw(4)));
      case 1:
        return eb.not(eb.exists(own().select("q.id").whereRef("q.person_id", "=", `${alias}.id`)));
      case 2:
        return member(
          eb.refTuple(`${alias}.owner`, `${alias}.id`),
          eb
            .selectFrom("notes as q")
            .select(["q.owner", "q.person_id"])
            .where("q.person_id", "is not", null)
            .$asTuple("owner", "person_id"),
        );
      case 3:
        return member(
          `${alias}.owner`,
          eb.selectFrom("notes as q").select("q.owner").where("q.n", ">", this.#draw(4)),
        );
      case 4:
        return eb(
          own().select((sub: AnyDatabase) => sub.fn.countAll().as("c")),
          ">",
          BigInt(this.#draw(3)),
        );
      default: {
        const whole = columns.find(({ kind }) => kind === "bigint")?.ref;
        return eb(whole, "in", eb.selectFrom("themes as q").select("q.id").where("q.n", "<", 3));
      }
    }
  }

  #orderBy(query: AnyDatabase, reference: AnyDatabase): AnyDatabase {
    const descending = this.#chance(2);
    if (!this.#features.nullsClause || !this.#chance(3))
      return query.orderBy(reference, descending ? "desc" : "asc");
    const last = this.#chance(2);
    return query.orderBy(reference, (order: AnyDatabase) => {
      const directed = descending ? order.desc() : order.asc();
      return last ? directed.nullsLast() : directed.nullsFirst();
    });
  }

  /** An order, a limit or neither. A limit comes with `identity`, by which the order is total. */
  #paged(query: AnyDatabase, columns: readonly string[], identity: readonly string[]): RandomBuilt {
    const ordered = this.#chance(2);
    if (!ordered && !this.#chance(3)) return { query, ordered: false };
    let paged = query;
    const by = ordered && columns.length > 0 ? this.#some(columns, 2) : [];
    for (const reference of [...by, ...identity.filter((name) => !by.includes(name))])
      paged = this.#orderBy(paged, reference);
    if (this.#chance(2)) paged = paged.limit(this.#draw(6) + (this.#chance(4) ? 0 : 1));
    if (this.#chance(3)) paged = paged.limit(this.#draw(5) + 1).offset(this.#draw(5));
    return { query: paged, ordered: true };
  }

  #rows(): RandomBuilt {
    const { query, sources } = this.#from();
    const columns = this.#columns(sources);
    const identity = sources.flatMap((source) => source.identity);
    if (this.#chance(4))
      return this.#paged(
        query.selectAll("p"),
        columns.map(({ ref }) => ref),
        identity,
      );
    const selected = this.#some(columns, 5).map(({ ref }, index) => `${ref} as c${index}`);
    return this.#paged(
      query.select(selected),
      columns.map(({ ref }) => ref),
      identity,
    );
  }

  #distinct(): RandomBuilt {
    const { query, sources } = this.#from();
    const columns = this.#some(this.#columns(sources), 3);
    const names = columns.map((_, index) => `c${index}`);
    const selected = columns.map(({ ref }, index) => `${ref} as ${names[index]}`);
    return this.#paged(query.select(selected).distinct(), names, names);
  }

  #aggregate(eb: AnyDatabase, columns: readonly Column[]): AnyDatabase {
    const numbers = columns.filter(({ kind }) => ["int", "bigint", "price", "wide", "owner"].includes(kind));
    // PostgreSQL has no min and max of booleans, UUIDs and bytes.
    const ordered = columns.filter(({ kind }) => !["boolean", "uuid", "bytes"].includes(kind));
    const filtered = (call: AnyDatabase) =>
      this.#features.filter && this.#chance(4) ? call.filterWhere("p.n", ">", this.#draw(3)) : call;
    switch (this.#draw(6)) {
      case 0:
        return filtered(eb.fn.count(this.#pick(columns).ref));
      case 1:
        return filtered(eb.fn.sum(this.#pick(numbers).ref));
      case 2:
        return filtered(eb.fn.avg(this.#pick(numbers).ref));
      case 3:
        return filtered(eb.fn.min(this.#pick(ordered).ref));
      case 4:
        return filtered(eb.fn.max(this.#pick(ordered).ref));
      default:
        return eb.fn.countAll();
    }
  }

  #groups(): RandomBuilt {
    const { query, sources } = this.#from();
    const columns = this.#columns(sources);
    const keys = this.#chance(5) ? [] : this.#some(columns, 2);
    const names = keys.map((_, index) => `k${index}`);
    const counted = this.#chance(3) ? this.#pick(columns) : undefined;
    let grouped = query.select(keys.map(({ ref }, index) => `${ref} as k${index}`));
    if (keys.length > 0) grouped = grouped.groupBy(keys.map(({ ref }) => ref));
    const shown: string[] = [];
    for (let count = 1 + this.#draw(3); count > 0; count--) {
      const name = `a${count}`;
      shown.push(name);
      grouped = grouped.select((eb: AnyDatabase) => this.#aggregate(eb, columns).as(name));
    }
    if (counted !== undefined)
      grouped = grouped.select((eb: AnyDatabase) => eb.fn.count(counted.ref).distinct().as("different"));
    if (this.#chance(3)) grouped = grouped.select((eb: AnyDatabase) => this.#overGroups(eb).as("over"));
    if (this.#chance(3)) grouped = grouped.having((eb: AnyDatabase) => this.#having(eb));
    return this.#paged(grouped, [...names, ...shown], names);
  }

  #overGroups(eb: AnyDatabase): AnyDatabase {
    const count = eb.fn.countAll();
    const sum = eb.fn.sum("p.n");
    switch (this.#draw(6)) {
      case 0:
        return eb.fn.coalesce(sum, eb.val(0n));
      case 1:
        return eb(eb.parens(count, "+", sum), "*", 3n);
      case 2:
        return eb(sum, "is", null);
      case 3:
        return eb(count, ">", 1n);
      case 4:
        return this.#features.decimals
          ? eb(eb.fn.sum("p.price"), "-", eb.fn.max("p.price"))
          : eb(count, "-", 1n);
      default:
        return eb(eb.fn.max("p.n"), "-", eb.fn.min("p.id"));
    }
  }

  #having(eb: AnyDatabase): AnyDatabase {
    const conditions = [
      () => eb(eb.fn.countAll(), ">", BigInt(this.#draw(3))),
      () => eb(eb.fn.sum("p.n"), "<", BigInt(this.#draw(8))),
      () => eb(eb.fn.max("p.name"), ">=", "a"),
      () => eb(eb.fn.avg("p.n"), "is not", null),
      () => eb.between(eb.fn.count("p.id"), 1n, 3n),
      () => eb(eb.fn.min("p.seen"), ">", new Date("1970-01-01T00:00:00Z")),
    ];
    const one = () => this.#pick(conditions)();
    switch (this.#draw(4)) {
      case 0:
        return eb.and([one(), one()]);
      case 1:
        return eb.or([one(), one()]);
      case 2:
        return eb.not(eb.parens(one()));
      default:
        return one();
    }
  }

  #union(): RandomBuilt {
    const arm = (table: "people" | "notes", alias: string) => {
      const text = table === "people" ? "name" : "label";
      return this.#where(
        (this.#db.selectFrom(`${table} as ${alias}`) as AnyDatabase).select([
          `${alias}.owner as o`,
          `${alias}.${text} as c`,
          `${alias}.n as n`,
        ]),
        [sourceOf(table, alias)],
      );
    };
    if (this.#chance(2)) {
      const query = arm("people", "p").unionAll(arm("notes", "m"));
      return this.#chance(2)
        ? { query: this.#orderBy(this.#orderBy(this.#orderBy(query, "c"), "n"), "o"), ordered: true }
        : { query, ordered: false };
    }
    if (this.#chance(2)) return { query: arm("people", "p").union(arm("notes", "m")), ordered: false };
    const text = (table: string, column: string) =>
      (this.#db.selectFrom(table) as AnyDatabase).select(`${table}.${column} as c`);
    const query = text("people", "name").union(text("notes", "label")).union(text("themes", "label"));
    return this.#chance(2)
      ? { query: this.#orderBy(query, "c").limit(1 + this.#draw(6)), ordered: true }
      : { query, ordered: false };
  }

  #windows(): RandomBuilt {
    const { query, sources } = this.#from();
    // Of rows that the joins keep: a window over a key that is null would hold several keys' rows.
    const inner = query.where("p.owner", "is not", null);
    const identity = sources.flatMap((source) => source.identity);
    const windowed = inner.select((eb: AnyDatabase) => [
      "p.owner as o",
      "p.id as i",
      eb.fn
        .agg("row_number")
        .over((over: AnyDatabase) =>
          identity.reduce((ordered, name) => ordered.orderBy(name), over.partitionBy("p.owner")),
        )
        .as("r"),
      eb.fn
        .sum("p.n")
        .over((over: AnyDatabase) => over.partitionBy(["p.owner", "p.open"]))
        .as("s"),
    ]);
    return this.#paged(windowed, ["r", "s"], identity);
  }

  /** A derived table or CTE with one row for each key, joined with the rest. */
  #derived(): RandomBuilt {
    const perOwner = (db: AnyDatabase) =>
      this.#where(db.selectFrom("notes as s"), [sourceOf("notes", "s")])
        .select((eb: AnyDatabase) => ["s.owner", eb.fn.countAll().as("c"), eb.fn.max("s.label").as("l")])
        .groupBy("s.owner");
    const kind = this.#pick(["innerJoin", "leftJoin"]);
    const base: AnyDatabase = this.#chance(2)
      ? (this.#db.with("x", perOwner).selectFrom("people as p") as AnyDatabase)[kind](
          "x",
          "x.owner",
          "p.owner",
        )
      : (this.#db.selectFrom("people as p") as AnyDatabase)[kind](
          (eb: AnyDatabase) => perOwner(eb).as("x"),
          (join: AnyDatabase) => join.onRef("x.owner", "=", "p.owner"),
        );
    const query = this.#where(base, [sourceOf("people", "p")]);
    if (this.#chance(2)) {
      const grouped = query
        .select((eb: AnyDatabase) => ["x.l as k0", eb.fn.sum("x.c").as("a"), eb.fn.count("p.id").as("b")])
        .groupBy("x.l");
      return this.#paged(grouped, ["k0", "a", "b"], ["k0"]);
    }
    return this.#paged(
      query.select(["p.owner as o", "p.id as i", "x.c as c", "x.l as l"]),
      ["c", "l"],
      ["p.owner", "p.id"],
    );
  }
}
