/** How Node reads the files of a folder: what `type` the nearest package.json has. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface PackageType {
  /** The package.json. */
  readonly path: string;
  /** As it is written there; Node guesses where it is not. */
  readonly type: string | undefined;
}

/** Undefined where no folder above has a package.json that can be read. */
export function nearestPackageType(folder: string): PackageType | undefined {
  const path = join(folder, "package.json");
  try {
    const { type } = JSON.parse(readFileSync(path, "utf8")) as { type?: unknown };
    return { path, type: typeof type === "string" ? type : undefined };
  } catch {
    const parent = dirname(folder);
    return parent === folder ? undefined : nearestPackageType(parent);
  }
}
