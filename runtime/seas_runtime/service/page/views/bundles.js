// The bundles: what each makes, its parity and licences; an administrator uploads packed ones.
import { ask, get } from "../api.js";
import { h, toast, fill } from "../dom.js";
import { number, t } from "../words.js";
import { bundleName } from "./jobs.js";

export async function bundlesView(place, { me }) {
  const { bundles } = await get("/v1/bundles");
  const file = h("input", { type: "file", accept: ".zip,.seas", class: "visually-hidden", id: "packed", tabindex: -1, "aria-label": t("upload_bundle") });
  file.addEventListener("change", async () => {
    try {
      await ask("POST", "/v1/bundles", file.files[0]);
    } catch (error) { toast(error.message); }
    bundlesView(place, { me });
  });
  fill(place,
    h("div", { class: "head" }, h("h1", { class: "grow" }, t("bundles")),
      me.role === "admin" ? [file, h("button", { onclick: () => file.click() }, t("upload_bundle"))] : null),
    bundles.length ? null : h("p", { class: "panel" }, t("no_bundles")),
    h("div", { class: "bundles" }, bundles.map((bundle) => h("section", { class: "panel", "aria-label": bundle.label },
      h("h2", {}, bundleName(bundles, bundle.id)),
      bundle.refused ? h("p", { class: "error" }, `${t("refused")}: ${bundle.refused}`) : null,
      h("dl", {}, rows(bundle).flatMap(([name, value]) => [h("dt", {}, t(name)), h("dd", {}, value)]))))));
}

function rows(bundle) {
  const parity = Object.entries(bundle.parity).filter(([, value]) => typeof value === "number").slice(0, 4).map(([name, value]) => `${name} ${number(value, 6)}`);
  return [
    ["defects", bundle.defects.map((one) => one.label).join(", ")],
    ["picture", `${bundle.size[0]} × ${bundle.size[1]}, ${bundle.precision}, ${bundle.method}`],
    ["sampler", `${bundle.sampler.name}, ${bundle.sampler.steps}; ${t("guidance")} ${number(bundle.guidance)}`],
    ["carries", String(bundle.photographs)],
    ["parity", parity.join("; ") || "–"],
    ["licences", bundle.licences.map((one) => `${one.name} (${one.of})`).join("; ") || "–"],
    ["bundle", h("code", {}, bundle.id.slice(0, 16))],
  ];
}
