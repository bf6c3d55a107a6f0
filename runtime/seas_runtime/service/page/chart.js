// Seconds of the last pairs as bars, with words for those who do not see it.
import { number, t } from "./words.js";

export function drawChart(canvas, seconds) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const [main, dim] = [style.getPropertyValue("--main"), style.getPropertyValue("--dim")];
  pen.clearRect(0, 0, width, height);
  if (!seconds.length) {
    canvas.setAttribute("aria-label", t("chart"));
    return;
  }
  const most = Math.max(...seconds) * 1.15;
  const step = Math.min(12, (width - 8) / seconds.length);
  pen.fillStyle = main;
  seconds.forEach((value, index) => {
    const bar = Math.max(1, (height - 20) * value / most);
    pen.fillRect(4 + index * step, height - 4 - bar, Math.max(1, step - 1.5), bar);
  });
  pen.fillStyle = dim;
  pen.font = "12px system-ui, sans-serif";
  pen.fillText(`${number(Math.max(...seconds))} s`, 6, 13);
  canvas.setAttribute("aria-label", t("chart_words", { last: number(seconds.at(-1)), median: number(median(seconds)) }));
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
