/** Contestants that Debian packs: installed where that is allowed, else left out with the reason. */
import { existsSync } from "node:fs";
import { installPackages, queryAsAdmin } from "@tesserae/test-support";
import type { Shards } from "./dots.ts";

/** Gives the reason why the contestant cannot take part, if there is one. */
export type Requirement = (shards: Shards) => Promise<string | undefined>;

export const requireSpider: Requirement = async ({ head }) => {
  const [row] = await queryAsAdmin(head, "select @@plugin_dir as folder");
  const library = `${row?.["folder"]}ha_spider.so`;
  return existsSync(library) ? undefined : installPackages(["mariadb-plugin-spider"]);
};

export const requirePlProxy: Requirement = ({ head }) =>
  requireExtension(head, "plproxy", (major) => `postgresql-${major}-plproxy`);

export const requireFdw: Requirement = ({ head }) =>
  requireExtension(head, "postgres_fdw", (major) => `postgresql-${major}`);

async function requireExtension(
  head: Shards["head"],
  extension: string,
  packageOf: (major: number) => string,
): Promise<string | undefined> {
  const there = async () =>
    (await queryAsAdmin(head, `select name from pg_available_extensions where name = '${extension}'`))
      .length > 0;
  if (await there()) return undefined;
  const [row] = await queryAsAdmin(head, "show server_version_num");
  const name = packageOf(Math.floor(Number(row?.["server_version_num"]) / 10_000));
  const reason = installPackages([name]);
  // The server may be another one than Debian's.
  return reason ?? ((await there()) ? undefined : `${name} is not for the server that runs here.`);
}
