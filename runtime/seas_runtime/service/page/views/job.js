// One job: how far it is, its pairs, and what to take away.
import { get } from "../api.js";
import { drawChart, median } from "../chart.js";
import { field, fill, h, options } from "../dom.js";
import { makeGallery } from "../gallery.js";
import { moment, number, t } from "../words.js";
import { actions, bundleName } from "./jobs.js";

const FORMATS = [["mvtec", "MVTec AD"], ["coco", "COCO"], ["yolo-seg", "YOLO (segments)"], ["yolo-det", "YOLO (boxes)"], ["labelme", "LabelMe"], ["cvat", "CVAT"], ["folder", "anomalib (Folder)"], ["imagefolder", "Hugging Face"]];

export async function jobView(place, { me, id }) {
  const [{ bundles }, first] = await Promise.all([get("/v1/bundles"), get(`/v1/jobs/${id}`)]);
  const may = me.role !== "viewer";
  const bar = h("progress", { "aria-label": t("progress") });
  const chip = h("span", { id: "job-status" });
  const buttons = h("div", { class: "row" });
  const figures = h("div", { class: "figures" });
  const message = h("p", { class: "error", hidden: true });
  const chart = h("canvas", { class: "chart", role: "img" });
  const gallery = makeGallery(id, may);
  let status = "";

  function show(job) {
    bar.max = Math.max(1, job.total);
    bar.value = job.done;
    chip.className = `chip ${job.status}`;
    chip.textContent = t(job.status);
    chip.dataset.status = job.status;
    message.textContent = job.message || "";
    message.hidden = !job.message;
    if (may && job.status !== status) fill(buttons, actions(job, () => get(`/v1/jobs/${id}`).then(show, () => { location.hash = "#/jobs"; })));
    status = job.status;
    const typical = job.recent.length ? median(job.recent) : null;
    const left = typical && job.status === "running" ? (job.total - job.done) * typical : null;
    const entries = [[`${job.done} / ${job.total}`, t("pairs_done")]];
    if (typical) entries.push([number(typical), t("per_pair")], [number(3600 / typical, 0), t("per_hour")]);
    if (left) entries.push([left < 5400 ? t("eta_min", { n: Math.max(1, Math.round(left / 60)) }) : t("eta_h", { n: number(left / 3600, 1) }), t("left")]);
    fill(figures, entries.map(([value, words]) => h("div", {}, h("b", {}, value), h("span", { class: "dim" }, words))));
    drawChart(chart, job.recent);
    gallery.grown(job);
  }

  const format = h("select", { id: "format" }, options(FORMATS, "mvtec"));
  const which = h("select", { id: "which" }, options([["accepted", t("only_accepted")], ["all", t("but_rejected")]], "all"));
  const link = h("a", { class: "button main", id: "download", download: true }, t("download"));
  const aim = () => { link.href = `/v1/jobs/${id}/download?format=${format.value}&pairs=${which.value}`; };
  format.addEventListener("change", aim);
  which.addEventListener("change", aim);
  aim();

  fill(place,
    h("div", { class: "head" },
      h("h1", {}, bundleName(bundles, first.request.bundle), " · ", first.request.defects.join(", ")), chip,
      h("span", { class: "dim grow" }, `${moment(first.created)} ${t("by")} ${first.owner} · ${t("seed")} ${first.request.seed}`), buttons),
    h("section", { class: "panel live", "aria-label": t("progress") },
      h("div", {}, bar, figures, message),
      h("div", {}, chart, h("div", { class: "dim" }, t("chart")))),
    h("section", { class: "panel", "aria-labelledby": "pairs-title" }, h("h2", { id: "pairs-title" }, t("gallery")), gallery.element),
    h("section", { class: "panel", "aria-labelledby": "download-title" }, h("h2", { id: "download-title" }, t("download")),
      h("div", { class: "bar" }, field(t("format"), format), field(t("which"), which), link)),
  );
  show(first);
  let events = null;
  function follow() {
    events = new EventSource(`/v1/jobs/${id}/events`);
    events.addEventListener("job", (event) => {
      const job = JSON.parse(event.data);
      show(job);
      if (["done", "failed", "cancelled"].includes(job.status)) events.close();
    });
  }
  if (!["done", "failed", "cancelled"].includes(first.status)) follow();
  const resized = () => drawChart(chart, first.recent);
  window.addEventListener("resize", resized);
  return () => {
    events?.close();
    gallery.leave();
    window.removeEventListener("resize", resized);
  };
}
