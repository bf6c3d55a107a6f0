// Asks for a token.
import { ask } from "../api.js";
import { field, h } from "../dom.js";
import { t } from "../words.js";

export function signInView(done) {
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const token = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const form = h("form", { class: "panel signin", onsubmit: async (event) => {
    event.preventDefault();
    try {
      await ask("POST", "/v1/session", { token: token.value.trim() });
      done();
    } catch (refused) {
      error.textContent = refused.message;
      error.hidden = false;
    }
  } },
  h("h1", {}, t("sign_in")),
  h("p", { class: "dim" }, t("token_help")),
  field(t("token"), token),
  error,
  h("p", {}, h("button", { class: "main", type: "submit" }, t("sign_in"))));
  return form;
}
