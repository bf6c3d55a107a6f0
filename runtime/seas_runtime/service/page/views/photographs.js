// Sets of normal photographs.
import { ask, get } from "../api.js";
import { field, h, say, toast, fill } from "../dom.js";
import { t } from "../words.js";

export async function photographsView(place, { me }) {
  const { sets } = await get("/v1/photographs");
  const name = h("input", { type: "text", pattern: "[a-z0-9][a-z0-9_\\-]{0,63}", required: true, value: sets[0]?.name || "line-1" });
  const files = h("input", { type: "file", multiple: true, accept: "image/*,.tif,.tiff,.bmp", required: true });
  const bar = h("progress", { hidden: true, "aria-label": t("progress") });
  const form = h("form", { class: "panel", onsubmit: async (event) => {
    event.preventDefault();
    let done = 0;
    bar.hidden = false;
    bar.max = files.files.length;
    for (const file of files.files) {
      try {
        await ask("PUT", `/v1/photographs/${name.value}/${encodeURIComponent(file.name)}`, file);
        bar.value = ++done;
      } catch (error) {
        toast(`${file.name}: ${error.message}`);
        if (error.status !== 422 && error.status !== 409) break;
      }
    }
    say(t("uploaded", { n: done }));
    if (done) photographsView(place, { me });
  } },
  h("h2", {}, t("upload")),
  h("div", { class: "bar" }, field(`${t("set_name")} (${t("set_help")})`, name), field(t("photographs"), files), h("button", { class: "main", type: "submit" }, t("upload"))), bar);
  const lists = await Promise.all(sets.map((one) => get(`/v1/photographs/${one.name}`)));
  fill(place,
    h("div", { class: "head" }, h("h1", {}, t("photographs"))),
    me.role === "viewer" ? null : form,
    sets.length ? null : h("p", { class: "panel" }, t("no_sets")),
    lists.map((one) => h("section", { class: "panel", "aria-label": one.name },
      h("h2", {}, `${one.name} (${one.photographs.length})`),
      h("div", { class: "thumbs" }, one.photographs.slice(0, 24).map((picture) =>
        h("img", { src: `/v1/photographs/${one.name}/${encodeURIComponent(picture)}?size=160`, alt: picture, title: picture, loading: "lazy" }))))));
}
