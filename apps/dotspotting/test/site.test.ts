import { forEachEngine } from "@tesserae/test-support";
import { openFreshSite } from "./site.ts";
import { walkThroughSite } from "./site-walk.ts";

forEachEngine(({ name }) => {
  walkThroughSite(name, () => openFreshSite(name), name === "sqlite" ? [1] : [1, 2]);
});
