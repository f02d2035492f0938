import { Hono } from "hono";
import { compress } from "hono/compress";
import { accountRoutes } from "./web/account-routes.ts";
import { failed, notFound } from "./web/answers.ts";
import { assetRoutes } from "./web/asset-routes.ts";
import type { Environment, Services } from "./web/environment.ts";
import { formGuard, securityHeaders, visitor } from "./web/guards.ts";
import { operatorRoutes } from "./web/operator-routes.ts";
import { ownWrites } from "./web/own-writes.ts";
import { searchRoutes } from "./web/search-routes.ts";
import { sheetRoutes } from "./web/sheet-routes.ts";
import { uploadRoutes } from "./web/upload-routes.ts";

/** The application over a federation: everything that answers a request. */
export function createApp(services: Services): Hono<Environment> {
  const app = new Hono<Environment>();
  app.use(async (c, next) => {
    c.set("services", services);
    await next();
  });
  app.use(securityHeaders);
  app.route("/", assetRoutes);
  app.use(compress());
  app.use(ownWrites);
  app.use(visitor);
  app.use(formGuard);
  app.route("/", sheetRoutes);
  app.route("/", searchRoutes);
  app.route("/", accountRoutes);
  app.route("/", uploadRoutes);
  app.route("/", operatorRoutes);
  app.notFound((c) => notFound(c));
  app.onError((error, c) => {
    services.log(`${c.req.method} ${c.req.path} failed`, error);
    return failed(c);
  });
  return app;
}
