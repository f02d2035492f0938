/** The schema of the session's unit tests: two federated tables, a reference table, a global one, and one of another federation. */
import {
  bigint,
  boolean,
  decimal,
  double,
  int,
  json,
  text,
  timestamp,
  uuid,
} from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import { federated, global, reference } from "../../src/schema/table.ts";
import type { TenantScope } from "../../src/session/tenant-scope.ts";

export const notes = defineSchema({
  federations: { users: bigint(), blogs: uuid() },
  tables: {
    accounts: global({ id: bigint(), name: text(64) }),
    themes: reference({ id: bigint(), label: text(64), n: int().nullable() }),
    sheets: federated(
      "user_id",
      {
        id: bigint(),
        user_id: bigint(),
        label: text(255),
        n: int().nullable(),
        price: decimal(9, 2).nullable(),
        wide: decimal(30, 4).nullable(),
      },
      { federation: "users" },
    ),
    dots: federated(
      "user_id",
      {
        id: bigint(),
        user_id: bigint(),
        sheet_id: bigint().nullable(),
        label: text(255),
        n: int().nullable(),
        weight: double().nullable(),
        open: boolean().nullable(),
        details: json().nullable(),
        seen: timestamp().nullable(),
        exact: timestamp(6).nullable(),
      },
      { federation: "users" },
    ),
    posts: federated("blog_id", { id: uuid(), blog_id: uuid() }, { federation: "blogs" }),
  },
});

export const scope: TenantScope = {
  schema: notes.model,
  federation: "users",
  key: 1n,
  sameKey: (value) => value === 1n,
};
