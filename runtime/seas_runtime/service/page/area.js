// Draws a legal area on a photograph: polygons, by pointer or by keyboard.
import { h, openDialog } from "./dom.js";
import { t } from "./words.js";

const STEP = 8; // pixels that an arrow key moves the cross; with shift a single one

export async function drawArea(source, before) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const canvas = h("canvas", { width, height, tabindex: 0, role: "application", "aria-label": t("legal"), "aria-describedby": "area-help" });
  canvas.style.width = `${Math.min(860, innerWidth * 0.85, innerHeight * 0.6 * width / height)}px`;
  const polygons = before && before.width === width && before.height === height ? structuredClone(before.polygons) : [];
  let current = [];
  let cross = [Math.round(width / 2), Math.round(height / 2)];
  const line = Math.max(1, Math.round(Math.max(width, height) / 300));

  function draw() {
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    pen.lineWidth = line;
    pen.strokeStyle = "#ffcc00";
    pen.fillStyle = "rgba(255, 204, 0, 0.28)";
    for (const [points, whole] of [...polygons.map((one) => [one, true]), [current, false]]) {
      if (!points.length) continue;
      pen.beginPath();
      points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      if (whole) { pen.closePath(); pen.fill(); }
      pen.stroke();
      for (const [x, y] of points) pen.strokeRect(x - line * 1.5, y - line * 1.5, line * 3, line * 3);
    }
    pen.strokeStyle = "#ffffff";
    pen.beginPath();
    pen.moveTo(cross[0] - line * 5, cross[1]); pen.lineTo(cross[0] + line * 5, cross[1]);
    pen.moveTo(cross[0], cross[1] - line * 5); pen.lineTo(cross[0], cross[1] + line * 5);
    pen.stroke();
  }
  function closePolygon() {
    if (current.length >= 3) polygons.push(current);
    current = [];
    draw();
  }
  const within = (value, most) => Math.min(most, Math.max(0, Math.round(value)));
  canvas.addEventListener("pointerdown", (event) => {
    const box = canvas.getBoundingClientRect();
    cross = [within((event.clientX - box.left) * width / box.width, width), within((event.clientY - box.top) * height / box.height, height)];
    if (event.detail < 2) current.push(cross);
    draw();
  });
  canvas.addEventListener("dblclick", closePolygon);
  canvas.addEventListener("keydown", (event) => {
    const by = event.shiftKey ? 1 : STEP;
    const moves = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
    if (moves[event.key]) cross = [within(cross[0] + moves[event.key][0], width), within(cross[1] + moves[event.key][1], height)];
    else if (event.key === " ") current.push(cross);
    else if (event.key === "Enter") closePolygon();
    else if (event.key === "Backspace") current.pop();
    else return;
    event.preventDefault();
    draw();
  });
  draw();
  return new Promise((resolve) => {
    let answer;
    const dialog = openDialog(h("div", { class: "sheet-dialog" },
      h("h2", { id: "area-title" }, t("legal")),
      h("p", { class: "dim", id: "area-help" }, t("area_help")),
      h("div", { class: "area" }, canvas),
      h("p", { class: "row" },
        h("button", { class: "main", onclick: () => {
          closePolygon();
          answer = polygons.length ? { width, height, polygons } : null;
          dialog.close();
        } }, t("use")),
        h("button", { onclick: () => { polygons.length = 0; current = []; draw(); canvas.focus(); } }, t("clear")),
        h("button", { onclick: () => dialog.close() }, t("close")))), { "aria-labelledby": "area-title" });
    dialog.addEventListener("close", () => resolve(answer));
    canvas.focus();
  });
}
