/** A process that takes ids of table sequences and writes each to its output: `take-table-ids.child.ts <url> <ids>`. */
import { writeSync } from "node:fs";
import { federate } from "../../src/index.ts";
import { countedSchema } from "./counted-schema.ts";

const [url, count] = process.argv.slice(2) as [string, string];
const fed = await federate({ schema: countedSchema, main: url, controlConnectionsMax: 2 });
for (let taken = 0; taken < Number(count); taken += 4) {
  const [one, three, order] = await Promise.all([
    fed.ids.next("invoices"),
    fed.ids.take("invoices", 3),
    fed.ids.next("orders", { column: "id" }),
  ]);
  writeSync(1, `${[one, ...three].map((id) => `invoice ${id}\n`).join("")}order ${order}\n`);
}
await fed.close();
