import { bigint, defineSchema, federated, global, int, reference, text, uuid } from "../../src/index.ts";

/** Ids of every kind, in columns of every type that has them. */
export const countedSchema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: int().ticket(), name: text(20) }),
    dots: federated("user_id", { id: bigint().ticket(), user_id: bigint() }),
    links: federated("user_id", { id: uuid().uuidv7(), user_id: bigint() }),
    invoices: federated("user_id", { id: int().table({ start: 10, step: 3 }), user_id: bigint() }),
    orders: global({
      id: bigint().table({ sequence: "order_ids", step: 10n }),
      number: int().ticket("order_numbers").nullable(),
    }),
    reminders: global({ id: int().table({ sequence: "order_ids", step: 10 }) }),
    themes: reference({ id: bigint(), label: text(20) }),
    events: global({ id: bigint().autoIncrement(), label: text(20) }),
  },
});

/** Sequences that nobody used yet, most with few ids left; `few` by the options. */
export const nearTheEndSchema = defineSchema({
  key: bigint(),
  tables: {
    narrow: global({ id: int().table({ start: 2 ** 31 - 8, step: 3 }) }),
    high: global({ id: bigint().table({ start: 2n ** 62n + 1n, step: 3 }) }),
    fresh: global({ id: int().table({ step: 3 }) }),
    few: global({ id: int().ticket() }),
    wide: global({ id: bigint().table({ start: 2n ** 63n - 3n, step: 10n }) }),
  },
});
