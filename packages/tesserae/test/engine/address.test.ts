import { describe, expect, it } from "vitest";
import { expandEnvironment, parseServerUrl, redactUrl, serverAddress } from "../../src/engine/address.ts";

const MYSQL = { schemes: ["mysql", "mariadb"], port: 3306 };

describe("expandEnvironment", () => {
  it("replaces each variable", () => {
    expect(expandEnvironment("a ${X} b ${Y_2}", { X: "1", Y_2: "$2" })).toBe("a 1 b $2");
  });

  it("names the variable that is not set", () => {
    expect(() => expandEnvironment("${PASSWORD}", {})).toThrow(
      expect.objectContaining({ code: "CONFIG_ENV_MISSING", message: expect.stringContaining("PASSWORD") }),
    );
  });
});

describe("parseServerUrl", () => {
  it("reads every part, decoded", () => {
    const url = parseServerUrl("mysql://app:s%40cret@DB-Main:3307/dots?ssl=true&x=1%202", MYSQL);
    expect(url).toEqual({
      scheme: "mysql",
      hosts: [{ host: "db-main", port: 3307 }],
      user: "app",
      password: "s@cret",
      database: "dots",
      parameters: new Map([
        ["ssl", "true"],
        ["x", "1 2"],
      ]),
    });
  });

  it("fills the port and leaves out what is not there", () => {
    const url = parseServerUrl("mariadb://[::1]", MYSQL);
    expect(url).toMatchObject({
      hosts: [{ host: "::1", port: 3306 }],
      user: undefined,
      password: undefined,
      database: undefined,
    });
  });

  it("reads several hosts, each with its own port", () => {
    const url = parseServerUrl("mysql://app:a,b@DB-1:3307,db-2,[::1]:99/dots?ssl=true", MYSQL);
    expect(url).toMatchObject({
      hosts: [
        { host: "db-1", port: 3307 },
        { host: "db-2", port: 3306 },
        { host: "::1", port: 99 },
      ],
      user: "app",
      password: "a,b",
      database: "dots",
    });
    expect(() => parseServerUrl("mysql://db-1,/dots", MYSQL)).toThrow("is not of the form");
  });

  it("takes a plain secret, or a whole URL, from the environment", () => {
    const secret = "p@ss/w:ord?#%";
    expect(parseServerUrl("mysql://app:${SECRET}@h/d", MYSQL, { SECRET: secret }).password).toBe(secret);
    expect(parseServerUrl("${URL}", MYSQL, { URL: "mysql://a:b%40@h/d" }).password).toBe("b@");
    expect(parseServerUrl("mysql://a@${HOST}/d", MYSQL, { HOST: "db:99" })).toMatchObject({
      hosts: [{ host: "db", port: 99 }],
    });
  });

  it.each([
    "dots.db",
    "postgres://app:hush@h/d",
    "mysql://app:hush@h:notaport/d",
    "mysql://app:hu/hush@h/d",
    "mysql://app:hush%@h/d",
    "mysql://app:hush@h/d/e",
  ])("refuses %s and keeps the password to itself", (text) => {
    const attempt = () => parseServerUrl(text, MYSQL);
    expect(attempt).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    expect(attempt).toThrow(expect.not.objectContaining({ message: expect.stringContaining("hush") }));
  });
});

describe("redactUrl", () => {
  it.each([
    ["mysql://app:hush@h/d", "mysql://app:***@h/d"],
    ["mysql://app:hu@sh/hush@h/d", "mysql://app:***@h/d"],
    ["mysql://app:hu hush@h/d", "mysql://app:***@h/d"],
    ["mysql://:hush@h", "mysql://:***@h"],
    ["mysql://app@h:3306/d", "mysql://app@h:3306/d"],
    ["postgres://h/d?user=a&password=hush&x=1", "postgres://h/d?user=a&password=***&x=1"],
    ["postgres://h/d?sslpassword=hush", "postgres://h/d?sslpassword=***"],
    [
      "connect to mysql://a:hush@h/d failed, try mysql://b:hush@i/d (a@b)",
      "connect to mysql://a:***@h/d failed, try mysql://b:***@i/d (a@b)",
    ],
    ["host=h password=hush user=a", "host=h password=*** user=a"],
    ['{"password":"hush"}', '{"password":***}'],
    [
      "Access denied for user 'a'@'h' (using password: YES)",
      "Access denied for user 'a'@'h' (using password: YES)",
    ],
  ])("%s", (text, redacted) => {
    expect(redactUrl(text).startsWith(redacted)).toBe(true);
    expect(redactUrl(text)).not.toContain("hush");
  });
});

describe("serverAddress", () => {
  it("identifies by host, port and database, and shows no password", () => {
    const first = serverAddress({
      scheme: "mysql",
      hosts: [{ host: "Db", port: 1 }],
      user: "a",
      password: "hush",
      database: "d",
    });
    const second = serverAddress({
      scheme: "mysql",
      hosts: [{ host: "db", port: 1 }],
      user: "b",
      password: undefined,
      database: "d",
    });
    expect(first.identity).toBe(second.identity);
    expect(first.display).toBe("mysql://a:***@db:1/d");
    expect(second.display).toBe("mysql://b@db:1/d");
  });

  it.each(["mysql://app@a,app@b/x", "mysql://app:hush@a,app:hush@b:3307/x"])(
    "refuses a login before each host: %s",
    (url) => {
      const read = () => parseServerUrl(url, MYSQL);
      expect(read).toThrow(/a login before each host/);
      expect(read).not.toThrow(/hush/);
    },
  );

  it("identifies a list by its hosts, in any order", () => {
    const of = (...names: string[]) =>
      serverAddress({
        scheme: "mysql",
        hosts: names.map((host) => ({ host, port: 1 })),
        user: "a",
        password: "hush",
        database: "d",
      });
    expect(of("b", "A").identity).toBe(of("a", "b").identity);
    expect(of("b", "a").hosts).toEqual(
      [of("a"), of("b")].map(({ identity, server }) => ({ identity, server })),
    );
    expect(of("b", "a").display).toBe("mysql://a:***@b:1,a:1/d");
    expect(of("a").hosts).toBeUndefined();
  });

  it("knows the names of this machine as one", () => {
    const at = (host: string) =>
      serverAddress({
        scheme: "mysql",
        hosts: [{ host, port: 1 }],
        user: undefined,
        password: undefined,
        database: "d",
      });
    expect(at("127.0.0.1").identity).toBe(at("localhost").identity);
    expect(at("::1").display).toBe("mysql://[::1]:1/d");
  });
});
