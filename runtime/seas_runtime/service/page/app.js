// The page: who is signed in, and which view is shown.
import { ask, get, Refused } from "./api.js";
import { h, one, toast, fill } from "./dom.js";
import { adminView } from "./views/admin.js";
import { bundlesView } from "./views/bundles.js";
import { jobView } from "./views/job.js";
import { jobsView } from "./views/jobs.js";
import { photographsView } from "./views/photographs.js";
import { signInView } from "./views/signin.js";
import { number, switchLanguage, t } from "./words.js";

const VIEWS = { jobs: jobsView, bundles: bundlesView, photographs: photographsView, admin: adminView };
let me = null;
let leave = () => {};
let shown = 0;

function header(view) {
  const top = one("#top");
  one("#skip").textContent = t("skip");
  const entries = [["jobs", "jobs"], ["bundles", "bundles"], ["photographs", "photographs"]];
  if (me?.role === "admin") entries.push(["admin", "administration"]);
  fill(top,
    h("a", { class: "mark", href: "#/jobs" }, h("img", { src: "icon.svg", alt: "" }), "seas-export"),
    me ? h("nav", { "aria-label": "seas-export" }, entries.map(([path, words]) =>
      h("a", { href: `#/${path}`, "aria-current": view === path ? "page" : null }, t(words)))) : h("nav", {}),
    h("span", { class: "state", id: "state" }),
    h("button", { class: "small", onclick: () => { switchLanguage(); route(); } }, t("language")),
    me && me.name !== "localhost" ? h("button", { class: "small", onclick: signOut }, t("sign_out")) : null,
  );
}

async function signOut() {
  await ask("DELETE", "/v1/session");
  me = null;
  route();
}

async function watch() {
  if (me) {
    try {
      const now = await get("/v1/status");
      const place = one("#state");
      const devices = now.devices.map((device) => device.name).join(", ");
      if (place) place.textContent = `${devices} · ${now.jobs.queued} ${t("waiting")} · ${number(now.disk_free_gb, 0)} ${t("disk")}`;
    } catch (error) {
      if (error.status === 401) { me = null; route(); }
      const place = one("#state");
      if (place && error.status === 0) place.textContent = t("lost");
    }
  }
  setTimeout(watch, 3000);
}

async function route() {
  const turn = ++shown;
  leave();
  leave = () => {};
  const link = location.hash.match(/^#link=(.+)$/);
  if (link) {
    history.replaceState(null, "", "#/jobs");
    try { await ask("POST", "/v1/session", { token: link[1] }); } catch (error) { toast(error.message); }
  }
  try {
    me = await get("/v1/me");
  } catch (error) {
    me = null;
    if (!(error instanceof Refused) || error.status !== 401) toast(error.message);
  }
  if (turn !== shown) return;
  const main = one("#main");
  const [view = "jobs", argument] = location.hash.replace(/^#\/?/, "").split("/");
  header(view || "jobs");
  if (!me) {
    fill(main, signInView(route));
    return;
  }
  const notice = me.notice ? [h("p", { class: "notice" }, me.notice)] : [];
  const place = h("div", {});
  fill(main, notice, place);
  try {
    const show = view === "jobs" && argument ? jobView : VIEWS[view] || jobsView;
    const ended = await show(place, { me, id: argument });
    if (turn === shown) leave = ended || (() => {});
    else if (ended) ended();
  } catch (error) {
    fill(place, h("p", { class: "error" }, error.message));
  }
}

window.addEventListener("hashchange", route);
route();
watch();
