/** What is refused before anything is written: no move is recorded, no residence changed, no row copied. */
import { type DatabaseServer, freshName, runAsAdmin, sharedServer } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/index.ts";
import { AlbumBook } from "./album-book.ts";
import { openAlbums, QUICK } from "./albums.ts";
import { ENGINES, onSites } from "./move-sites.ts";

const PASSWORD = "only_for_tests";

interface Login {
  readonly url: string;
  drop(): Promise<void>;
}

type Rights = "select" | "write" | "blind" | "checked";
/** MariaDB shows triggers to whom has the right to make them, or to write. */
const MYSQL_RIGHTS: Readonly<Record<Rights, string>> = {
  select: "select, trigger",
  write: "select, insert, update, delete",
  blind: "select",
  checked: "all",
};
/** `write` may also leave out foreign keys. */
const POSTGRES_RIGHTS: Readonly<Record<Rights, string>> = {
  select: "select",
  write: "select, insert, update, delete",
  blind: "select",
  checked: "all",
};

/** A login on the database at `url` with these rights on its tables. */
async function login(url: string, rights: Rights): Promise<Login> {
  const place = new URL(url);
  const engine = place.protocol === "mysql:" ? "mysql" : "postgres";
  const servers = await Promise.all([0, 1].map((index) => sharedServer(engine, index)));
  const server = servers.find(({ port }) => String(port) === place.port) as DatabaseServer;
  const database = place.pathname.slice(1);
  const name = freshName();
  const own = new URL(url);
  own.username = name;
  own.password = PASSWORD;
  if (engine === "mysql") {
    await runAsAdmin(server, [
      `create user '${name}'@'%' identified by '${PASSWORD}'`,
      `grant ${MYSQL_RIGHTS[rights]} on \`${database}\`.* to '${name}'@'%'`,
    ]);
    return {
      url: own.href,
      drop: async () => {
        await runAsAdmin(server, [`drop user '${name}'@'%'`]);
      },
    };
  }
  await runAsAdmin(
    server,
    [
      `create role ${name} login password '${PASSWORD}'`,
      `grant ${POSTGRES_RIGHTS[rights]} on all tables in schema public to ${name}`,
      ...(rights === "write" ? [`grant set on parameter session_replication_role to ${name}`] : []),
      `grant usage on all sequences in schema public to ${name}`,
      `grant usage on schema public to ${name}`,
    ],
    database,
  );
  return {
    url: own.href,
    drop: async () => {
      await runAsAdmin(server, [`drop owned by ${name}`, `drop role ${name}`], database);
    },
  };
}

onSites("a move is refused", ENGINES, (site, shared) => {
  async function seeded() {
    const key = shared.newKey();
    await shared.albums.fed.tenants.add(key, { shard: 1 });
    const book = new AlbumBook(shared.albums, key);
    await book.seed(3);
    return { key, book };
  }

  async function traces() {
    const { albums } = shared;
    return {
      moves: await albums.sql(0, "select id, step from tesserae_moves order by id"),
      directory: await albums.sql(0, "select * from tesserae_directory_default order by kind, low"),
      residences: [await albums.residences(1), await albums.residences(2)],
      rows: [await albums.counts(1), await albums.counts(2)],
    };
  }

  async function expectRefused(
    code: ErrorCode,
    move: () => Promise<unknown>,
    message: RegExp = /./,
  ): Promise<void> {
    const before = await traces();
    const refusal = await move().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(refusal).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(await traces()).toEqual(before);
  }

  test("to the shard where it is, to one that is not, of a key without a place", async () => {
    const { key } = await seeded();
    const { fed } = shared.albums;
    const removed = shared.newKey();
    await fed.tenants.add(removed, { shard: 1 });
    await fed.tenants.remove(removed);
    await expectRefused("MOVE_SAME_SHARD", () => fed.moves.move(key, { to: 1 }));
    await expectRefused("SHARD_UNKNOWN", () => fed.moves.move(key, { to: 9 }));
    await expectRefused("KEY_UNKNOWN", () => fed.moves.move(777_777n, { to: 2 }));
    await expectRefused("KEY_UNKNOWN", () => fed.moves.move(removed, { to: 2 }));
    await expectRefused("KEY_UNKNOWN", () => fed.moves.move([key, 777_777n], { to: 2 }));
    await expectRefused("KEY_TYPE", () => fed.moves.move("1" as never, { to: 2 }));
    await expectRefused("RANGE_UNKNOWN", () => fed.moves.move({ low: 0n }, { to: 2 }));
    await expectRefused("RANGE_UNKNOWN", () => fed.split({ at: 5n }));
    await expectRefused("RANGE_UNKNOWN", () => fed.merge({ at: 5n }));
    await expectRefused("KEY_UNKNOWN", () => fed.isolate(777_777n));
    await expectRefused("SHARD_UNKNOWN", () => fed.drain(9));
  });

  test("with options that make no sense", async () => {
    const { key } = await seeded();
    const { moves } = shared.albums.fed;
    for (const options of [
      { graceMs: 1 },
      { rowsPerSecond: 0 },
      { rowsPerSecond: Number.NaN },
      { pauseBudgetMs: -1 },
      { parallel: 0 },
      { batchKeys: 0 },
      { batchRows: 0 },
      { hours: "6" },
    ])
      await expectRefused("VALUE_INVALID", () => moves.move(key, { to: 2, ...options }));
  });

  test("onto rows that no move has left", async () => {
    const { key } = await seeded();
    const { albums } = shared;
    await albums.sql(
      2,
      `insert into tesserae_residence_default (kind, low, high, epoch, state, token) values ('p', ${key}, null, 1, 'here', 1)`,
    );
    await albums.sql(2, `insert into photos (id, owner, title) values (1, ${key}, 'somebody''s')`);
    await expectRefused("RESIDENCE_CONFLICT", () => albums.fed.moves.move(key, { to: 2 }));
    await albums.sql(2, `delete from tesserae_residence_default where low = ${key}`);
    await expectRefused("MOVE_TARGET_NOT_EMPTY", () => albums.fed.moves.move(key, { to: 2 }), /"photos"/);
  });

  test("a merge onto rows that no move has left", async () => {
    const { albums } = shared;
    const { fed } = albums;
    const low = 1_000n * (shared.newKey() + 1n);
    await fed.tenants.addRange({ low, high: low + 50n }, { shard: 1 });
    await fed.tenants.addRange({ low: low + 50n, high: low + 100n }, { shard: 2 });
    const book = new AlbumBook(albums, low + 60n);
    await book.seed(3);
    await albums.sql(
      1,
      `insert into tesserae_residence_default (kind, low, high, epoch, state, token) values ('p', ${low + 70n}, null, 1, 'here', 1)`,
    );
    await albums.sql(1, `insert into photos (id, owner, title) values (1, ${low + 70n}, 'somebody''s')`);
    await albums.sql(1, `delete from tesserae_residence_default where low = ${low + 70n}`);
    await expectRefused(
      "MOVE_TARGET_NOT_EMPTY",
      () => fed.merge({ at: low + 50n, to: 1 }, QUICK),
      /"photos"/,
    );
    await book.expectOn(2);
    await expectRefused("SHARD_UNKNOWN", () => fed.merge({ at: low + 50n, to: 3 }));
    await fed.merge({ at: low + 50n, to: 2 }, QUICK);
    await book.expectOn(2);
  });

  test("of rows that refer to what the target lacks: it turns back", async () => {
    const { key, book } = await seeded();
    const { albums } = shared;
    const { fed } = albums;
    await fed.main.insertInto("licences").values({ id: key, name: "free" }).execute();
    await fed.references.publish("licences");
    await fed.at(key).insertInto("empty").values({ id: 1n, licence_id: key }).execute();
    await albums.sql(2, "delete from licences");
    await expect(fed.moves.move(key, { to: 2, ...QUICK })).rejects.toMatchObject({
      code: "MOVE_REFERENCE_MISSING",
      table: "empty",
      shard: 2,
    });
    await book.expectOn(1);
    expect(await albums.counts(2)).toMatchObject({ empty: 0, tesserae_log_default: 0 });
    expect(await fed.tenants.where(key)).toMatchObject({ shard: 1, state: "active", epoch: 1n });
    await fed.references.publish("licences");
    await fed.moves.move(key, { to: 2, ...QUICK });
    await book.expectOn(2);
    expect(await fed.at(key).selectFrom("empty").select("licence_id").execute()).toEqual([
      { licence_id: key },
    ]);
  });

  describe.skipIf(site.name === "sqlite")("by the rights of a login", () => {
    /** A federation whose shard is opened with another login. */
    async function withLogin(
      shard: 1 | 2,
      rights: Rights,
      act: (albums: Awaited<ReturnType<typeof openAlbums>>) => Promise<void>,
    ) {
      const own = await login(shared.urls[shard] as string, rights);
      const urls = shared.urls.with(shard, own.url);
      const albums = await openAlbums(urls, { apply: false });
      try {
        await act(albums);
      } finally {
        await albums[Symbol.asyncDispose]();
        await own.drop();
      }
    }

    test.each([1, 2] as const)("that may only read, on shard %i", async (shard) => {
      const { key } = await seeded();
      await withLogin(shard, "select", ({ fed }) =>
        expectRefused("MOVE_RIGHTS", () => fed.moves.move(key, { to: 2 }), new RegExp(`Shard ${shard} `)),
      );
    });

    test.skipIf(site.name !== "mysql")(
      "that may not see triggers; one that writes rows may move",
      async () => {
        const { key, book } = await seeded();
        await withLogin(2, "blind", ({ fed }) =>
          expectRefused("MOVE_SCHEMA", () => fed.moves.move(key, { to: 2 }), /needs the TRIGGER right/),
        );
        await withLogin(2, "write", async ({ fed }) => {
          await fed.moves.move(key, { to: 2, ...QUICK });
        });
        await book.expectOn(2);
      },
    );

    test.skipIf(site.name !== "postgres")(
      "that may not leave out foreign keys; one that may, and writes rows, may move",
      async () => {
        const { key, book } = await seeded();
        await withLogin(2, "checked", ({ fed }) =>
          expectRefused(
            "MOVE_RIGHTS",
            () => fed.moves.move(key, { to: 2 }),
            /grant set on parameter session_replication_role/,
          ),
        );
        await withLogin(2, "write", async ({ fed }) => {
          await fed.moves.move(key, { to: 2, ...QUICK });
        });
        await book.expectOn(2);
      },
    );
  });

  test("to a shard that lacks a table", async () => {
    const { key, book } = await seeded();
    const { albums } = shared;
    await albums.sql(2, "drop table empty");
    const before = await albums.sql(0, "select id from tesserae_moves");
    await expect(albums.fed.moves.move(key, { to: 2 })).rejects.toMatchObject({
      code: "MOVE_SCHEMA",
      shard: 2,
    });
    expect(await albums.sql(0, "select id from tesserae_moves")).toEqual(before);
    expect(await albums.residences(2, key)).toEqual([]);
    await (await shared.another()).fed.schema.apply();
    await albums.fed.moves.move(key, { to: 2, ...QUICK });
    await book.expectOn(2);
  });
});
