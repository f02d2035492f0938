/** Settings of a server with a binary log that the library cannot do without. The server's errors, as MariaDB 10.11 sends them. */
import { expect, test } from "vitest";
import { toEngineError } from "../../../src/engine/engine-error.ts";
import { mysqlDialect } from "../../../src/engine/mysql/dialect.ts";

test.each([
  [
    1419,
    "You do not have the SUPER privilege and binary logging is enabled (you *might* want to use the less safe log_bin_trust_function_creators variable)",
    /log_bin_trust_function_creators = 1 on a server with a binary log/,
  ],
  [
    1665,
    "Cannot execute statement: impossible to write to binary log since BINLOG_FORMAT = STATEMENT and at least one table uses a storage engine limited to row-based logging",
    /set binlog_format = ROW or MIXED/,
  ],
])("%d says what to set", (errno, message, advice) => {
  const sent = Object.assign(new Error(message), { errno, sqlState: "HY000" });
  const error = toEngineError(sent, mysqlDialect, { cluster: "shards", shard: 2 });
  expect(error).toMatchObject({ code: "SERVER_SETTING", retryable: false, shard: 2 });
  expect(error.message).toContain(message);
  expect(error.message).toMatch(advice);
});
