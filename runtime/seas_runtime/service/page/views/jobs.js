// The list of jobs, and the form that starts one.
import { ask, get } from "../api.js";
import { field, h, options, toast, fill } from "../dom.js";
import { drawArea } from "../area.js";
import { moment, t } from "../words.js";

export async function jobsView(place, { me }) {
  const list = h("div", {});
  const may = me.role !== "viewer";
  const [{ bundles }, { sets }] = await Promise.all([get("/v1/bundles"), get("/v1/photographs")]);
  fill(place,
    h("div", { class: "head" }, h("h1", {}, t("jobs"))),
    h("div", { class: may ? "columns" : "" },
      may ? form(bundles, sets) : null,
      h("section", { class: "panel", "aria-label": t("jobs") }, list)),
  );
  let timer;
  const look = async () => {
    try {
      show(list, (await get("/v1/jobs?limit=100")).jobs, bundles, may, look);
    } catch (error) {
      if (error.status !== 0) throw error;
    }
  };
  await look();
  timer = setInterval(() => look().catch((error) => toast(error.message)), 2000);
  return () => clearInterval(timer);
}

export function bundleName(bundles, id) {
  const found = bundles.find((bundle) => bundle.id === id);
  if (!found) return id.slice(0, 8);
  const twins = bundles.filter((bundle) => bundle.label === found.label).length > 1;
  return twins ? `${found.label} · ${id.slice(0, 6)}` : found.label;
}

export function actions(job, again) {
  const wish = (word, kind) => h("button", { class: `small ${kind}`, "data-key": `${word}-${job.id}`, onclick: async () => {
    try {
      if (word === "remove") {
        if (!confirm(t("sure_remove"))) return;
        await ask("DELETE", `/v1/jobs/${job.id}`);
      } else await ask("POST", `/v1/jobs/${job.id}/${word}`);
    } catch (error) { toast(error.message); }
    again();
  } }, t(word));
  if (job.status === "queued" || job.status === "running") return [wish("pause", ""), wish("cancel", "bad")];
  if (job.status === "paused") return [wish("resume", ""), wish("cancel", "bad")];
  return [wish("remove", "bad")];
}

function show(list, jobs, bundles, may, again) {
  if (!jobs.length) {
    fill(list, h("p", { class: "dim" }, t("no_jobs")));
    return;
  }
  const held = document.activeElement?.dataset?.key;
  const rows = jobs.map((job) => h("tr", {},
    h("td", {},
      h("a", { href: `#/jobs/${job.id}`, "data-key": job.id }, h("b", {}, bundleName(bundles, job.request.bundle)), ` ${job.request.defects.join(", ")}`),
      h("div", { class: "dim" }, `${moment(job.created)} ${t("by")} ${job.owner}`)),
    h("td", {}, h("span", { class: `chip ${job.status}` }, t(job.status))),
    h("td", {}, h("progress", { max: Math.max(1, job.total), value: job.done, "aria-label": t("progress") }), h("div", { class: "dim" }, `${job.done} / ${job.total}`)),
    may ? h("td", {}, h("div", { class: "row" }, actions(job, again))) : null));
  fill(list, h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, t("job")), h("th", {}, t("status")), h("th", {}, t("progress")), may ? h("th", {}, h("span", { class: "visually-hidden" }, t("keys"))) : null)),
    h("tbody", {}, rows))));
  if (held) list.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
}

function form(bundles, sets) {
  const usable = bundles.filter((bundle) => !bundle.refused);
  if (!usable.length) return h("section", { class: "panel" }, h("h2", {}, t("new_job")), h("p", {}, t("no_bundles")));
  let legal = null;
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const bundle = h("select", { id: "bundle" }, usable.map((one) => h("option", { value: one.id }, bundleName(bundles, one.id))));
  const checks = h("div", { class: "checks" });
  const onto = h("select", { id: "onto" });
  const where = h("select", { id: "where" }, options([["auto", t("where_auto")], ["foreground", t("where_foreground")], ["anywhere", t("where_anywhere")]]));
  const count = h("input", { type: "number", id: "count", min: 1, max: 100000, value: 8, required: true });
  const seed = h("input", { type: "number", id: "seed", min: 0, value: 0, required: true });
  const batch = h("input", { type: "number", min: 1, max: 64, value: 1 });
  const priority = h("input", { type: "number", min: -10, max: 10, value: 0 });
  const oversample = h("input", { type: "number", min: 1, max: 10, step: 0.1, value: 1 });
  const guidance = h("input", { type: "number", id: "guidance", min: 0, max: 100, step: 0.1, placeholder: t("bundle_default") });
  const steps = h("input", { type: "number", min: 1, max: 1000, placeholder: t("bundle_default") });
  const gate = h("input", { type: "checkbox", checked: true });
  const areaButton = h("button", { type: "button", class: "wide" }, t("legal"));

  const chosen = () => usable.find((one) => one.id === bundle.value);
  function fit() {
    const now = chosen();
    const names = [...now.defects.map((one) => [one.name, one.label]), ["good", t("normals")]];
    fill(checks, names.map(([name, words], index) =>
      h("label", {}, h("input", { type: "checkbox", name: "defect", value: name, checked: index === 0 }), words)));
    const places = [["auto", t("auto")]];
    if (now.photographs) places.push(["bundle", `${t("own")} (${now.photographs})`]);
    if (now.draws_into_photographs) places.push(...sets.map((one) => [one.name, `${one.name} (${one.photographs})`]));
    places.push(["noise", t("noise")]);
    fill(onto, options(places, "auto"));
    legal = null;
    change();
  }
  function change() {
    const now = chosen();
    const drawn = onto.value !== "noise" && (now.draws_into_photographs && (onto.value !== "auto" || now.photographs > 0));
    where.disabled = !drawn;
    areaButton.disabled = !drawn;
    areaButton.textContent = legal ? t("legal_set", { n: legal.polygons.length }) : t("legal");
  }
  bundle.addEventListener("change", fit);
  onto.addEventListener("change", () => { legal = null; change(); });
  areaButton.addEventListener("click", async () => {
    try {
      const found = await drawArea(await photographOf(chosen(), onto.value), legal);
      if (found !== undefined) legal = found;
    } catch (refused) { toast(refused.message); }
    change();
  });
  fit();

  const optional = (input) => (input.value === "" ? null : Number(input.value));
  async function submit(event) {
    event.preventDefault();
    error.hidden = true;
    const defects = [...checks.querySelectorAll("input:checked")].map((input) => input.value);
    const values = {
      bundle: bundle.value, defects, count: Number(count.value), seed: Number(seed.value), batch: Number(batch.value || 1),
      onto: onto.value, where: where.disabled ? "auto" : where.value, guidance: optional(guidance), steps: optional(steps),
      oversample: Number(oversample.value || 1), gate: gate.checked, priority: Number(priority.value || 0), legal,
    };
    try {
      const job = await ask("POST", "/v1/jobs", values);
      location.hash = `#/jobs/${job.id}`;
    } catch (refused) {
      error.textContent = refused.message;
      error.hidden = false;
    }
  }
  return h("section", { class: "panel", "aria-labelledby": "new-job" },
    h("h2", { id: "new-job" }, t("new_job")),
    h("form", { id: "new", onsubmit: submit },
      h("div", { class: "fields" },
        field(t("bundle"), bundle, true),
        h("fieldset", { class: "wide" }, h("legend", {}, t("defects")), checks),
        field(t("count"), count), field(t("seed"), seed),
        field(t("onto"), onto, true), field(t("where"), where, true), areaButton),
      h("details", {}, h("summary", {}, t("more")),
        h("div", { class: "fields" }, field(t("guidance"), guidance), field(t("steps"), steps), field(t("batch"), batch),
          field(t("priority"), priority), field(t("oversample"), oversample),
          h("div", { class: "checks wide" }, h("label", {}, gate, t("gate"))))),
      error,
      h("p", {}, h("button", { class: "main", type: "submit", id: "start" }, t("start")))));
}

async function photographOf(bundle, onto) {
  if (onto === "auto" || onto === "bundle") return `/v1/bundles/${bundle.id}/photographs/0`;
  const { photographs } = await get(`/v1/photographs/${onto}`);
  return `/v1/photographs/${onto}/${encodeURIComponent(photographs[0])}`;
}
