/** Kysely without a database: builds and compiles for each engine. */
import {
  DummyDriver,
  Kysely,
  MysqlQueryCompiler,
  type OperationNode,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryCompiler,
  type QueryId,
  type RootOperationNode,
  SqliteQueryCompiler,
} from "kysely";

// biome-ignore lint/suspicious/noExplicitAny: tests name tables that the types would refuse.
export type AnyDatabase = any;

export const offline = new Kysely<AnyDatabase>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

export const compilers: Readonly<Record<"sqlite" | "mysql" | "postgres", () => QueryCompiler>> = {
  sqlite: () => new SqliteQueryCompiler(),
  mysql: () => new MysqlQueryCompiler(),
  postgres: () => new PostgresQueryCompiler(),
};

export interface Built {
  toOperationNode(): OperationNode;
}

export function compile(engine: keyof typeof compilers, node: OperationNode) {
  return compilers[engine]().compileQuery(node as RootOperationNode, {} as QueryId);
}
