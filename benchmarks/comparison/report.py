"""From the outcomes in a folder to one result: times, memory, distance of outputs, share of the limit."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from machine import plot_axes

from seas_runtime.figures import psnr, squared_error

BASELINE = "pytorch-fp32"
BF16 = ("bf16", "openvino")  # names of contestants that compute in bfloat16 where nothing else is said


def summarise(
    folder: Path, names: list[str], operations: dict[str, Any], rates: dict[str, float]
) -> list[dict[str, Any]]:
    """Return a row for each contestant that has an outcome, in the order of `names`."""
    rows = [_row(folder, name, operations, rates) for name in names if (folder / f"{name}.json").is_file()]
    baseline = next((row["seconds_median"] for row in rows if row["name"] == BASELINE), None)
    for row in rows:
        row["times_baseline"] = None if baseline is None else round(baseline / row["seconds_median"], 3)
    return rows


def _row(folder: Path, name: str, operations: dict[str, Any], rates: dict[str, float]) -> dict[str, Any]:
    outcome = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    median = statistics.median(outcome["seconds"])
    precision = outcome.get("precision") or precision_of(name)
    tflop = tflop_of(name, operations)
    rate = rates.get(precision)
    return {
        "name": name,
        "precision": precision,
        "masks": not name.startswith("optimum"),
        "seconds_median": round(median, 3),
        "seconds": [round(value, 3) for value in outcome["seconds"]],
        "processor_seconds_median": round(statistics.median(outcome["processor_seconds"]), 3),
        "load_seconds": round(outcome["load_seconds"], 2),
        "warm_up_seconds": round(outcome["warm_up_seconds"], 2),
        "peak_gib": outcome.get("peak_gib"),
        "device_gib": outcome.get("device_gib"),
        "tflop_per_pair": tflop,
        "share_of_limit": None if rate is None else round(tflop / rate / median, 4),
        "parts": {key: round(value, 3) for key, value in outcome["parts"].items()},
        "against_baseline": compare_outputs(folder, name),
        "packages": outcome["packages"],
        "notes": outcome["notes"],
    }


def precision_of(name: str) -> str:
    """The precision that a contestant computes in, as its name says it."""
    if "fp16" in name:
        return "fp16"
    if "fp32" in name or "f32" in name:
        return "fp32"
    return "bf16" if any(word in name for word in BF16) else "fp32"


def tflop_of(name: str, operations: dict[str, Any]) -> float:
    """The operations that a contestant's own way takes: the authors', ours, or a peer's without masks."""
    if name.startswith("pytorch"):
        return float(operations["tflop_per_pair_authors"])
    if name.startswith("optimum"):
        return float(operations["tflop_per_image"])
    return float(operations["tflop_per_pair"])


def compare_outputs(folder: Path, name: str) -> dict[str, float] | None:
    """How far a contestant's images and maps lie from the baseline's; None for the baseline itself."""
    if name == BASELINE or not (folder / f"{BASELINE}.npz").is_file():
        return None
    with np.load(folder / f"{BASELINE}.npz") as expected, np.load(folder / f"{name}.npz") as found:
        error = squared_error(expected["images"], found["images"])
        figures = {"image_psnr_db": round(psnr(error, found["images"].size), 2)}
        if "probabilities" in found:
            apart = np.abs(expected["probabilities"].astype(np.float64) - found["probabilities"])
            figures["probability_max"] = float(f"{apart.max():.4g}")
            figures["probability_mean"] = float(f"{apart.mean():.4g}")
    return figures


def to_text(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    columns = (
        *("contestant", "masks", "s/pair", "x PyTorch fp32", "cores used", "peak GiB", "GPU GiB"),
        *("TFLOP/pair", "share of limit", "image dB", "map, mean apart"),
    )
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for row in rows:
        against = row["against_baseline"] or {}
        cells = (
            row["name"],
            "yes" if row["masks"] else "no",
            f"{row['seconds_median']:.1f}" if row["seconds_median"] >= 10 else f"{row['seconds_median']:.3f}",
            _cell(row["times_baseline"], "{:.2f}"),
            f"{row['processor_seconds_median'] / row['seconds_median']:.1f}",
            _cell(row["peak_gib"], "{:.1f}"),
            _cell(row.get("device_gib"), "{:.1f}"),
            f"{row['tflop_per_pair']:.1f}",
            _cell(row["share_of_limit"], "{:.0%}"),
            _cell(against.get("image_psnr_db"), "{:.1f}"),
            _cell(against.get("probability_mean"), "{:.2g}"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)


def plot(rows: list[dict[str, Any]], title: str, file: Path) -> None:
    """Draw seconds per pair as bars; peers, which make no masks, are hatched."""
    ordered = list(reversed(rows))
    colours = ["#2563eb" if row["name"].startswith("seas") else "#94a3b8" for row in ordered]
    hatches = ["" if row["masks"] else "//" for row in ordered]
    with plot_axes(file, 8, 0.5 + 0.4 * len(rows)) as (axes,):
        bars = axes.barh(
            [row["name"] for row in ordered],
            [row["seconds_median"] for row in ordered],
            color=colours,
            hatch=hatches,
        )
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.set(xlabel="seconds per pair (hatched: image only)", title=title)
