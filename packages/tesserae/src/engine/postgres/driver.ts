/** `pg` and `pg-cursor`, loaded when they are first used: who uses another engine needs neither. */
import { TesseraeError } from "../../base/errors.ts";

/** DRIVER_MISSING where the package is not installed. */
export async function loadDriver<T>(load: () => Promise<T>, name: "pg" | "pg-cursor"): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    const purpose = name === "pg" ? "PostgreSQL" : "Streaming from PostgreSQL";
    throw new TesseraeError(
      "DRIVER_MISSING",
      `${purpose} needs the package ${name}, which is not installed. Run: npm install ${name}`,
      { cause: error },
    );
  }
}
