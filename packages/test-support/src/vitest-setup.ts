/** Vitest's global set-up: one broker for the whole run; the servers behind it start when a test first asks for them. */
import { startBroker } from "./shared-servers.ts";

export default function setUp(): Promise<() => Promise<void>> {
  return startBroker();
}
