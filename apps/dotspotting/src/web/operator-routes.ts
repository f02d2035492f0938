import { Hono } from "hono";
import { findUserByName, plainUserName } from "../accounts/users.ts";
import { hasEnded, type MoveView, moveViews, refusalOf } from "../operator/move-view.ts";
import { otherServers } from "../operator/servers.ts";
import { shardLoads, userPlaces } from "../operator/user-places.ts";
import { readPageRequest } from "../sheets/paging.ts";
import { notFound, page, toLogIn } from "./answers.ts";
import { type Environment, formToken, type Web } from "./environment.ts";
import { operatorPage, operatorPageDefaults } from "./pages/operator.ts";

/** Where users live, and moving them. To everybody but an operator there is nothing here. */
export const operatorRoutes = new Hono<Environment>();

operatorRoutes.use("/operator/*", async (c, next) => {
  if (c.var.isOperator) return next();
  return c.var.user || c.req.method !== "GET" ? notFound(c) : toLogIn(c);
});

operatorRoutes.get("/operator", (c) => showOperatorPage(c));

/** How far the moves are. What is shown changes with `version`; between two changes only the bars and words do. */
operatorRoutes.get("/operator/moves.json", async (c) => {
  const { fed, moves } = c.var.services;
  const views = await moveViews(fed, await moves.list());
  const open = views.filter((move) => !hasEnded(move));
  const answer = {
    version: versionOf(views),
    moves: open.map(({ id, text, percent }) => ({ id: String(id), text, percent: percent ?? null })),
  };
  return c.json(answer, 200, { "Cache-Control": "no-store" });
});

operatorRoutes.post("/operator/moves", async (c) => {
  const { fed, moves } = c.var.services;
  const form = await c.req.parseBody();
  const user = await findUserByName(fed, plainUserName(String(form["user"] ?? "")));
  const to = Number(form["to"]);
  if (!user) return answer(c, "There is no user with this name.");
  if (!fed.status().shards.some(({ id }) => id === to)) return answer(c, "There is no such shard.");
  return attempt(c, () => moves.start(user.id, to, readPace(form["pace"])));
});

operatorRoutes.post("/operator/moves/:id/:action", async (c) => {
  const { fed, moves } = c.var.services;
  const id = /^\d{1,18}$/.test(c.req.param("id")) ? BigInt(c.req.param("id")) : undefined;
  const move = id === undefined ? undefined : await moves.find(id);
  if (!move) return notFound(c);
  switch (c.req.param("action")) {
    case "pause":
      return attempt(c, () => moves.pause(move.id));
    case "resume":
      return attempt(c, () => moves.resume(move.id));
    case "abort":
      return attempt(c, () => moves.abort(move.id));
    case "undo": {
      const [view] = (await moveViews(fed, [move])).filter(({ canUndo }) => canUndo);
      if (!view || move.key === undefined)
        return answer(c, "Something has happened to the user since: this move cannot be undone.");
      const userId = BigInt(move.key);
      return attempt(c, () => moves.start(userId, move.from));
    }
    default:
      return notFound(c);
  }
});

async function showOperatorPage(c: Web, problem?: string) {
  const { fed, moves } = c.var.services;
  const search = plainUserName(c.req.query("user") ?? "");
  const request = readPageRequest(c.req.query(), operatorPageDefaults);
  const [shards, servers, { place, users }, views] = await Promise.all([
    shardLoads(fed),
    otherServers(fed),
    userPlaces(fed, request, search),
    moves.list().then((list) => moveViews(fed, list)),
  ]);
  const body = operatorPage({
    token: formToken(c),
    operator: c.var.user!.name,
    problem,
    shards,
    main: fed.status().main.address,
    servers,
    moves: views,
    version: versionOf(views),
    users,
    place,
    search,
  });
  return page(c, "Where users live", body, { scripts: ["operator"] }, problem === undefined ? 200 : 422);
}

/** Does it; what the library refuses is the answer. */
async function attempt(c: Web, act: () => Promise<void>) {
  try {
    await act();
    return await answer(c);
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === undefined) throw error;
    return answer(c, refusal);
  }
}

/** To a script in a word; to a form the page again. */
function answer(c: Web, problem?: string) {
  if ((c.req.header("accept") ?? "").includes("application/json"))
    return c.json({ problem: problem ?? null }, problem === undefined ? 200 : 422);
  return problem === undefined ? c.redirect("/operator", 303) : showOperatorPage(c, problem);
}

/** Rows a second; nothing is as fast as it goes. */
function readPace(text: unknown): number | undefined {
  return typeof text === "string" && /^[1-9]\d{0,6}$/.test(text) ? Number(text) : undefined;
}

function versionOf(views: readonly MoveView[]): string {
  return views
    .map(({ id, state, canAbort, canUndo, error }) =>
      [id, state, canAbort ? "a" : "", canUndo ? "u" : "", error ? "e" : ""].join(""),
    )
    .join(" ");
}
