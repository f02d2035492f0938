/**
 * mysql2, loaded on first use. Its callback interface is used and wrapped once, by us: its promise wrapper makes an error with a stack
 * trace for each statement beforehand.
 */
import type { ConnectionOptions } from "mysql2";
import { TesseraeError } from "../../base/errors.ts";

export type Driver = typeof import("mysql2");
export type DriverConfig = ConnectionOptions;

let loading: Promise<Driver> | undefined;

/** Loaded when the first connection is opened: who uses another engine needs no `mysql2`. */
export function loadDriver(): Promise<Driver> {
  loading ??= import("mysql2").then(
    (module) => module.default as unknown as Driver,
    (error: unknown) => {
      loading = undefined;
      if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
      throw new TesseraeError(
        "DRIVER_MISSING",
        "MariaDB and MySQL need the driver mysql2, which is not installed. Run: npm install mysql2",
        { cause: error },
      );
    },
  );
  return loading;
}
