/** Installs the servers and the browser the tests need, and says what is missing if it cannot. */
import { installServers } from "./installation.ts";

const { missing, reason } = installServers();
if (missing.length > 0) {
  console.error(reason);
  process.exitCode = 1;
}
