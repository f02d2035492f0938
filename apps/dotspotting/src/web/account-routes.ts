import { Hono } from "hono";
import { passwordProblem } from "../accounts/passwords.ts";
import { authenticate, createUser, plainUserName, userNameProblem } from "../accounts/users.ts";
import { page, tooMany } from "./answers.ts";
import { beginSession, type Environment, formToken, remoteAddress, type Web } from "./environment.ts";
import { logInPage, signUpPage } from "./pages/account.ts";

/** Signing up, logging in and out. */
export const accountRoutes = new Hono<Environment>();

accountRoutes.get("/signup", (c) => {
  if (c.var.user) return c.redirect("/", 303);
  const next = safeNext(c.req.query("next"));
  return page(c, "Sign up", signUpPage({ token: formToken(c), next }), { width: "narrow" });
});

accountRoutes.post("/signup", async (c) => {
  const { fed, signUps } = c.var.services;
  const { name, password, next } = await readForm(c);
  const wait = signUps.wait(remoteAddress(c));
  if (wait > 0) return tooMany(c, wait);
  const problem = userNameProblem(name) ?? passwordProblem(password, name);
  const user = problem ? undefined : await createUser(fed, name, password);
  if (!user) {
    const said = problem ?? "This name is taken already. Choose another one.";
    return page(
      c,
      "Sign up",
      signUpPage({ token: formToken(c), next, name, problem: said }),
      { width: "narrow" },
      422,
    );
  }
  signUps.count(remoteAddress(c));
  beginSession(c, user.id);
  return c.redirect(next === "/" ? "/upload" : next, 303);
});

accountRoutes.get("/login", (c) => {
  const next = safeNext(c.req.query("next"));
  if (c.var.user) return c.redirect(next, 303);
  return page(c, "Log in", logInPage({ token: formToken(c), next }), { width: "narrow" });
});

accountRoutes.post("/login", async (c) => {
  const { fed, loginsByName, loginsByAddress } = c.var.services;
  const { name, password, next } = await readForm(c);
  const address = remoteAddress(c);
  const both = `${name}\n${address}`;
  const wait = Math.max(loginsByName.wait(both), loginsByAddress.wait(address));
  if (wait > 0) return tooMany(c, wait);
  // Counted before the password is checked, so that many attempts at the same moment count too.
  loginsByName.count(both);
  loginsByAddress.count(address);
  const user = await authenticate(fed, name, password);
  if (!user) {
    const problem = "There is nobody with this name and password.";
    return page(
      c,
      "Log in",
      logInPage({ token: formToken(c), next, name, problem }),
      { width: "narrow" },
      422,
    );
  }
  loginsByName.forget(both);
  beginSession(c, user.id);
  return c.redirect(next, 303);
});

accountRoutes.post("/logout", (c) => {
  beginSession(c);
  return c.redirect("/", 303);
});

async function readForm(c: Web): Promise<{ name: string; password: string; next: string }> {
  const form = await c.req.parseBody();
  const text = (name: string) => (typeof form[name] === "string" ? form[name].toWellFormed() : "");
  return {
    name: plainUserName(text("name")).slice(0, 200),
    password: text("password"),
    next: safeNext(text("next")),
  };
}

/** Where to go afterwards: only to an address of this site. */
export function safeNext(next: string | undefined): string {
  return next && /^\/(?![/\\])[\w\-./?=&%~]*$/.test(next) ? next : "/";
}
