// A pair close up: zoom, the mask as an overlay, brush and eraser, accept and reject.
import { ask, pairPath } from "./api.js";
import { field, fill, h, openDialog, say, toast } from "./dom.js";
import { number, t } from "./words.js";

const COLOUR = [255, 59, 31];

export function openViewer({ job, may, pairs, start, fade, judge, closed }) {
  let at = start;
  let tool = "move";
  let changed = false;
  let undo = [];
  let zoom = 1;
  let origin = [0, 0];
  const image = h("img", { alt: "" });
  const mask = h("canvas", {});
  const sheet = h("div", { class: "sheet" }, image, mask);
  const stage = h("div", { class: "stage", role: "application", tabindex: 0 }, sheet);
  const title = h("h2", { id: "viewer-title" });
  const facts = h("dl", {});
  const slider = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: fade, id: "overlay" });
  const brush = h("input", { type: "range", min: 1, max: 80, value: 12 });
  const press = (words, key, action, kind = "") => h("button", { class: kind, onclick: action }, words, " ", h("kbd", { "aria-hidden": "true" }, key));
  const accept = press(t("accept"), "A", () => decide("accepted"), "good");
  const reject = press(t("reject"), "R", () => decide("rejected"), "bad");
  const tools = Object.fromEntries([["move", "V"], ["brush", "B"], ["eraser", "E"]].map(([name, key]) => [name, press(t(name), key, () => choose(name), "small")]));
  const save = h("button", { class: "main small", disabled: true, onclick: keep }, t("save"));
  const back = h("button", { class: "small", onclick: restore }, t("restore"));
  const undoButton = press(t("undo"), "Z", stepBack, "small");
  const reason = h("input", { type: "text", maxlength: 2000, list: "reasons" });
  const comment = h("input", { type: "text", maxlength: 2000 });
  for (const [input, name] of [[reason, "reason"], [comment, "comment"]]) {
    input.addEventListener("change", async () => {
      const pair = pairs[at];
      try { Object.assign(pair, await ask("PUT", `${pairPath(job, pair)}/review`, { [name]: input.value })); } catch (error) { toast(error.message); }
    });
  }
  slider.addEventListener("input", () => { mask.style.opacity = slider.value; });
  const drawing = h("fieldset", {}, h("legend", {}, t("fade")),
    h("div", { class: "row" }, Object.values(tools)), field(t("size"), brush), h("div", { class: "row" }, undoButton, save, back));

  const dialog = openDialog(h("div", { class: "inside" }, stage,
    h("div", { class: "side" },
      h("div", { class: "row" }, h("button", { class: "small", id: "close", onclick: () => leave() }, t("close")), title),
      may ? h("div", { class: "row" }, accept, reject) : null,
      h("div", { class: "row" }, h("button", { class: "small", onclick: () => go(-1) }, "← ", t("previous")), h("button", { class: "small", onclick: () => go(1) }, t("next"), " →")),
      field(t("fade"), slider),
      h("div", { class: "row" }, press(t("zoom_in"), "+", () => zoomBy(1.5), "small"), press(t("zoom_out"), "−", () => zoomBy(1 / 1.5), "small"), press(t("fit"), "0", fitStage, "small")),
      may ? drawing : null,
      may ? field(t("reason"), reason) : null, may ? field(t("comment"), comment) : null,
      facts)), { class: "viewer", "aria-labelledby": "viewer-title" });
  dialog.addEventListener("cancel", (event) => { event.preventDefault(); leave(); });
  dialog.addEventListener("close", closed);
  dialog.addEventListener("keydown", keys);

  async function load() {
    const turn = at;
    const pair = pairs[at];
    const path = pairPath(job, pair);
    changed = false;
    undo = [];
    title.textContent = `${pair.defect} ${pair.index} (${at + 1} ${t("of")} ${pairs.length})`;
    image.src = `${path}/image`;
    image.alt = `${pair.defect} ${pair.index}`;
    await image.decode().catch(() => {});
    if (turn !== at) return;
    mask.width = image.naturalWidth;
    mask.height = image.naturalHeight;
    mask.style.opacity = slider.value;
    if (pair.has_mask) {
      const found = new Image();
      found.src = `${path}/mask?t=${Date.now()}`;
      await found.decode().catch(() => {});
      if (turn !== at) return;
      paint(found);
    }
    drawing.disabled = !pair.has_mask;
    show(pair);
    fitStage();
  }
  // White becomes the overlay's colour, black nothing.
  function paint(found) {
    const pen = mask.getContext("2d", { willReadFrequently: true });
    pen.clearRect(0, 0, mask.width, mask.height);
    pen.drawImage(found, 0, 0);
    const pixels = pen.getImageData(0, 0, mask.width, mask.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const inside = pixels.data[i] > 127;
      [pixels.data[i], pixels.data[i + 1], pixels.data[i + 2]] = COLOUR;
      pixels.data[i + 3] = inside ? 255 : 0;
    }
    pen.putImageData(pixels, 0, 0);
  }
  function show(pair) {
    accept.setAttribute("aria-pressed", pair.verdict === "accepted");
    reject.setAttribute("aria-pressed", pair.verdict === "rejected");
    reason.value = pair.reason;
    comment.value = pair.comment;
    back.disabled = !pair.corrected;
    undoButton.disabled = !undo.length;
    save.disabled = !changed;
    for (const [name, button] of Object.entries(tools)) button.setAttribute("aria-pressed", name === tool);
    stage.classList.toggle("drawing", tool !== "move");
    const rows = [["picture", `${image.naturalWidth} × ${image.naturalHeight}`], ["score", number(pair.score, 3)], ["area", `${number((pair.mask_area ?? 0) * 100)} %`],
      ["seconds", number(pair.seconds)], ["attempts", number(pair.attempts)], ["photograph", pair.photograph], ["by_whom", pair.reviewed_by], ["fade", pair.corrected ? t("corrected") : null]];
    fill(facts, rows.filter(([, value]) => value && value !== "–").flatMap(([name, value]) => [h("dt", {}, t(name)), h("dd", {}, value)]));
  }
  async function decide(verdict) {
    if (!may) return;
    const pair = pairs[at];
    try {
      await judge(pair, verdict);
      if (pair.verdict && at < pairs.length - 1 && !changed) go(1); else show(pair);
    } catch (error) { toast(error.message); }
  }
  function go(by) {
    const next = at + by;
    if (next < 0 || next >= pairs.length || !mayLeave()) return;
    at = next;
    load();
  }
  const mayLeave = () => !changed || confirm(t("unsaved"));
  function leave() { if (mayLeave()) dialog.close(); }
  function choose(name) { tool = name; show(pairs[at]); }

  function place() {
    sheet.style.transform = `translate(${origin[0]}px, ${origin[1]}px) scale(${zoom})`;
    stage.classList.toggle("close", zoom >= 2);
  }
  function fitStage() {
    const [width, height] = [stage.clientWidth, stage.clientHeight];
    zoom = Math.min(width / mask.width, height / mask.height) * 0.96;
    origin = [(width - mask.width * zoom) / 2, (height - mask.height * zoom) / 2];
    place();
  }
  function zoomBy(factor, point = [stage.clientWidth / 2, stage.clientHeight / 2]) {
    const next = Math.min(64, Math.max(0.02, zoom * factor));
    origin = origin.map((value, axis) => point[axis] - (point[axis] - value) * next / zoom);
    zoom = next;
    place();
  }
  const spot = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  stage.addEventListener("wheel", (event) => { event.preventDefault(); zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, spot(event)); }, { passive: false });
  let last = null;
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    last = spot(event);
    if (tool !== "move" && may && pairs[at].has_mask) {
      undo.push(mask.getContext("2d").getImageData(0, 0, mask.width, mask.height));
      if (undo.length > 20) undo.shift();
      stroke(last, last);
    }
  });
  stage.addEventListener("pointermove", (event) => {
    if (!last) return;
    const now = spot(event);
    if (tool === "move") {
      origin = origin.map((value, axis) => value + now[axis] - last[axis]);
      place();
    } else if (may && pairs[at].has_mask) stroke(last, now);
    last = now;
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => { last = null; });
  function stroke(from, to) {
    const pen = mask.getContext("2d");
    const inside = (point) => point.map((value, axis) => (value - origin[axis]) / zoom);
    pen.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
    pen.strokeStyle = `rgb(${COLOUR.join(",")})`;
    pen.lineCap = "round";
    pen.lineWidth = Number(brush.value);
    pen.beginPath();
    pen.moveTo(...inside(from));
    const [x, y] = inside(to);
    pen.lineTo(x + 0.01, y);
    pen.stroke();
    pen.globalCompositeOperation = "source-over";
    changed = true;
    show(pairs[at]);
  }
  function stepBack() {
    const before = undo.pop();
    if (before) mask.getContext("2d").putImageData(before, 0, 0);
    changed = undo.length > 0;
    show(pairs[at]);
  }
  async function keep() {
    const pair = pairs[at];
    const flat = h("canvas", { width: mask.width, height: mask.height });
    const pen = flat.getContext("2d");
    const pixels = mask.getContext("2d").getImageData(0, 0, mask.width, mask.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const value = pixels.data[i + 3] > 127 ? 255 : 0;
      pixels.data[i] = pixels.data[i + 1] = pixels.data[i + 2] = value;
      pixels.data[i + 3] = 255;
    }
    pen.putImageData(pixels, 0, 0);
    const png = await new Promise((resolve) => flat.toBlob(resolve, "image/png"));
    try {
      Object.assign(pair, await ask("PUT", `${pairPath(job, pair)}/mask`, png));
      changed = false;
      undo = [];
      say(t("saved"));
      toast(t("saved"));
      show(pair);
    } catch (error) { toast(error.message); }
  }
  async function restore() {
    try {
      Object.assign(pairs[at], await ask("DELETE", `${pairPath(job, pairs[at])}/mask`));
      say(t("restored"));
      load();
    } catch (error) { toast(error.message); }
  }
  function keys(event) {
    if (event.target.matches("input[type=text]") || event.ctrlKey || event.metaKey || event.altKey) return;
    const sliding = event.target.matches("input[type=range]");
    const actions = {
      a: () => decide("accepted"), r: () => decide("rejected"), b: () => choose("brush"), e: () => choose("eraser"), v: () => choose("move"),
      z: stepBack, s: () => { if (changed) keep(); }, "+": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: fitStage,
      m: () => { slider.value = Number(slider.value) > 0 ? 0 : fade || 0.55; mask.style.opacity = slider.value; },
      ...(sliding ? {} : { arrowleft: () => go(-1), arrowright: () => go(1) }),
    };
    const action = actions[event.key.toLowerCase()];
    if (!action || (!may && "arbezs".includes(event.key.toLowerCase()))) return;
    event.preventDefault();
    action();
  }
  load().then(() => stage.focus());
}
