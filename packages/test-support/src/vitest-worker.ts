/** Loaded by vitest before each test file: it lends the runner's `describe` to the loop over the engines. */
import { describe } from "vitest";
import { useDescribe } from "./fresh-databases.ts";

useDescribe(describe);
