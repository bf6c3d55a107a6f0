// Tokens, who did what, and the settings.
import { ask, get } from "../api.js";
import { field, h, options, toast, fill } from "../dom.js";
import { moment, t } from "../words.js";

export async function adminView(place, { me }) {
  const [{ tokens }, { entries }, config] = await Promise.all([get("/v1/tokens"), get("/v1/audit?limit=60"), get("/v1/config")]);
  const name = h("input", { type: "text", maxlength: 64, required: true });
  const role = h("select", {}, options([["operator", t("operator")], ["viewer", t("viewer")], ["admin", t("admin")]], "operator"));
  const made = h("p", { class: "notice", hidden: true });
  const form = h("form", { class: "bar", onsubmit: async (event) => {
    event.preventDefault();
    try {
      const found = await ask("POST", "/v1/tokens", { name: name.value, role: role.value });
      await adminView(place, { me });
      const shown = place.querySelector(".notice");
      fill(shown, t("new_token"), " ", h("code", {}, found.token));
      shown.hidden = false;
    } catch (error) { toast(error.message); }
  } }, field(t("name"), name), field(t("role"), role), h("button", { class: "main", type: "submit" }, t("make_token")));
  fill(place,
    h("div", { class: "head" }, h("h1", {}, t("administration"))),
    h("section", { class: "panel" }, h("h2", {}, t("tokens")), made, form,
      h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, tokens.map((token) => h("tr", {},
        h("td", {}, h("b", {}, token.name)), h("td", {}, t(token.role).split(":")[0]), h("td", { class: "dim" }, moment(token.created)),
        h("td", {}, h("button", { class: "small bad", onclick: async () => {
          try { await ask("DELETE", `/v1/tokens/${token.id}`); } catch (error) { toast(error.message); }
          adminView(place, { me }).catch(() => location.reload());
        } }, t("revoke")))))))))  ,
    h("section", { class: "panel" }, h("h2", {}, t("audit")),
      h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, entries.map(({ time, who, action, ...rest }) => h("tr", {},
        h("td", { class: "dim" }, time.replace("T", " ").replace("Z", "")), h("td", {}, who), h("td", {}, action),
        h("td", { class: "dim" }, Object.entries(rest).map(([key, value]) => `${key} ${value}`).join(", ")))))))),
    h("section", { class: "panel" }, h("h2", {}, t("config")), h("pre", {}, JSON.stringify(config, null, 2))));
}
