// The pairs of a job side by side: filters, the mask as an overlay, keys to accept and reject.
import { ask, get, pairPath } from "./api.js";
import { field, h, options, say, toast, fill } from "./dom.js";
import { openViewer } from "./viewer.js";
import { number, t } from "./words.js";

const PAGE = 60;

export function makeGallery(job, may) {
  const grid = h("ul", { class: "gallery" });
  const words = h("p", { class: "dim", id: "verdicts" });
  const empty = h("p", { class: "dim" }, t("nothing"));
  const more = h("button", { hidden: true }, t("more_pairs"));
  const defect = h("select", {}, options([["", t("all")]]));
  const verdict = h("select", { id: "verdict" }, options([["", t("all")], ["none", t("open")], ["accepted", t("accepted")], ["rejected", t("rejected")]], ""));
  const gate = h("select", {}, options([["passed", t("passed")], ["rejected", t("rejected")], ["", t("all")]], "passed"));
  const score = h("input", { type: "number", min: 0, max: 1, step: 0.05, placeholder: "0" });
  const scoreField = field(t("least_score"), score);
  const fade = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.55, id: "fade" });
  fade.addEventListener("input", () => grid.style.setProperty("--fade", fade.value));
  let pairs = [];
  let done = -1;
  let busy = false;
  let again = false;

  function query(offset, limit) {
    const values = new URLSearchParams({ offset, limit });
    if (defect.value) values.set("defect", defect.value);
    if (verdict.value) values.set("verdict", verdict.value);
    if (gate.value) values.set("gate", gate.value);
    if (score.value) values.set("least_score", score.value);
    return `/v1/jobs/${job}/pairs?${values}`;
  }
  // Brings the list up to date without touching what has not changed, so that focus and pictures stay.
  async function load(wanted) {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const found = await get(query(0, Math.min(500, wanted)));
      const kept = new Map([...grid.children].map((item) => [item.dataset.key, item]));
      pairs = found.pairs;
      const items = pairs.map((pair) => {
        const item = kept.get(keyOf(pair));
        return item && item.dataset.stamp === stampOf(pair) ? item : card(pair);
      });
      const held = document.activeElement?.closest?.(".gallery li")?.dataset.key;
      items.forEach((item, index) => { if (grid.children[index] !== item) grid.insertBefore(item, grid.children[index] || null); });
      while (grid.children.length > items.length) grid.lastChild.remove();
      if (held && !grid.contains(document.activeElement)) [...grid.children].find((item) => item.dataset.key === held)?.firstChild.focus();
      more.hidden = found.total <= pairs.length || pairs.length >= 500;
      empty.hidden = pairs.length > 0;
      empty.textContent = found.defects.length ? t("none_match") : t("nothing");
      scoreField.hidden = !found.scored;
      words.textContent = `${found.verdicts.accepted} ${t("accepted")} · ${found.verdicts.rejected} ${t("rejected")} · ${found.verdicts.none} ${t("open")}`;
      if (defect.options.length - 1 !== found.defects.length) {
        const chosen = defect.value;
        fill(defect, options([["", t("all")], ...found.defects.map((name) => [name, name])], chosen));
      }
    } catch (error) {
      if (error.status !== 0) toast(error.message);
    } finally {
      busy = false;
      if (again) { again = false; load(wanted); }
    }
  }
  const reload = () => load(Math.max(PAGE, pairs.length));

  function card(pair) {
    const path = pairPath(job, pair);
    const stamp = pair.corrected ? `&t=${encodeURIComponent(stampOf(pair))}` : "";
    const tint = pair.has_mask && pair.passed ? h("span", { class: "tint" }) : null;
    if (tint) tint.style.maskImage = `url("${path}/mask?size=320${stamp}")`;
    const frame = h("span", { class: "frame" }, pair.passed
      ? [h("img", { src: `${path}/image?size=320`, alt: "", loading: "lazy" }), tint]
      : h("span", { class: "none" }, t("not_passed", { why: pair.gate || "" })));
    const state = pair.verdict ? h("span", { class: `chip ${pair.verdict}` }, t(pair.verdict)) : h("span", { class: "dim" }, pair.score === null ? "" : number(pair.score));
    const label = `${pair.defect} ${pair.index}${pair.verdict ? `, ${t(pair.verdict)}` : ""}`;
    return h("li", { "data-key": keyOf(pair), "data-stamp": stampOf(pair) },
      h("button", { class: `card ${pair.verdict || ""}`, "aria-label": label, onclick: () => open(pair) },
        frame, h("span", { class: "words" }, h("span", {}, `${pair.defect} ${pair.index}`), state)));
  }
  function open(pair) {
    const whole = pairs.filter((one) => one.passed);
    const start = whole.findIndex((one) => keyOf(one) === keyOf(pair));
    if (start >= 0) openViewer({ job, may, pairs: whole, start, fade: Number(fade.value), judge, closed: reload });
  }
  async function judge(pair, wanted) {
    const now = pair.verdict === wanted ? null : wanted;
    const changed = await ask("PUT", `${pairPath(job, pair)}/review`, { verdict: now });
    say(`${pair.defect} ${pair.index}: ${now ? t(now) : t("took_back")}`);
    Object.assign(pair, changed);
    return changed;
  }
  grid.addEventListener("keydown", async (event) => {
    const items = [...grid.querySelectorAll(".card")];
    const at = items.indexOf(document.activeElement);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const across = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    const key = event.key.toLowerCase();
    if (moves[event.key]) {
      event.preventDefault();
      items[Math.min(items.length - 1, Math.max(0, at + moves[event.key]))].focus();
    } else if (may && (key === "a" || key === "r") && pairs[at]?.passed) {
      event.preventDefault();
      items[Math.min(items.length - 1, at + 1)].focus();
      try { await judge(pairs[at], key === "a" ? "accepted" : "rejected"); } catch (error) { toast(error.message); }
      reload();
    }
  });
  for (const control of [defect, verdict, gate, score]) control.addEventListener("change", () => load(PAGE));
  more.addEventListener("click", () => load(pairs.length + PAGE));
  const element = h("div", {},
    h("div", { class: "bar" }, field(t("filter_verdict"), verdict), field(t("filter_defect"), defect), field(t("filter_gate"), gate), scoreField,
      field(t("fade"), fade)),
    h("div", { class: "row" }, words, may ? h("p", { class: "dim" }, `· ${t("keys")}: ${t("keys_gallery")}`) : null), empty, grid, h("p", {}, more));
  return {
    element,
    grown(now) {
      if (now.done !== done || now.status === "done") load(Math.max(PAGE, pairs.length));
      done = now.done;
    },
    leave() {},
  };
}

const keyOf = (pair) => `${pair.defect}/${pair.index}`;
const stampOf = (pair) => JSON.stringify([pair.verdict, pair.corrected, pair.passed, pair.score]);
