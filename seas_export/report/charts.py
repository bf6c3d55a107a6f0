"""Small charts as inline SVG, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

COLOURS = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#dc2626", "#475569")

_WIDTH, _HEIGHT = 340, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 34


def line_chart(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    x_label: str = "",
    colour: str = COLOURS[0],
    smooth: bool = False,
    markers: bool = False,
) -> str:
    """One curve through (x, y) points; points that are not finite are left out.

    smooth: draw a running mean over a fiftieth of the points, with the raw curve faint behind it.
    """
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not points:
        return f'<p class="empty">{escape(title)}: nothing recorded</p>'
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_ticks = ticks(min(xs), max(xs), 5)
    y_ticks = ticks(min(0.0, *ys), max(ys), 4)
    x_range, y_range = (min(xs), max(xs)), (y_ticks[0], max(y_ticks[-1], max(ys)))

    def place(x: float, y: float) -> tuple[float, float]:
        """A point in the picture's coordinates."""
        return (
            _LEFT + _share(x, *x_range) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - _share(y, *y_range) * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [_open(_WIDTH, _HEIGHT, title)]
    for tick in y_ticks:
        y = place(xs[0], tick)[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:.4g}</text>'
        )
    for tick in x_ticks:
        if x_range[0] <= tick <= x_range[1]:
            x = place(tick, y_range[0])[0]
            y = _HEIGHT - _BOTTOM + 15
            parts.append(f'<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{tick:.6g}</text>')
    raw = _polyline([place(*point) for point in points])
    if smooth:
        parts.append(f'<polyline points="{raw}" fill="none" stroke="{colour}" stroke-opacity=".22"/>')
        raw = _polyline([place(*point) for point in running_mean(points, max(1, len(points) // 50))])
    parts.append(f'<polyline points="{raw}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    if markers:
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
            for x, y in map(lambda p: place(*p), points)
        ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="tick" x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
        "</svg>"
    )
    return "".join(parts)


def share_bar(shares: Sequence[tuple[str, float]], *, title: str, unit: str = "ms") -> str:
    """One stacked horizontal bar of named amounts, with a legend of amounts and shares below it."""
    total = sum(amount for _, amount in shares)
    if total <= 0:
        return f'<p class="empty">{escape(title)}: nothing recorded</p>'
    width, height = 1080, 74
    parts = [_open(width, height, title)]
    left = legend = 0.0
    for index, (name, amount) in enumerate(shares):
        colour = COLOURS[index % len(COLOURS)]
        piece = width * amount / total
        parts.append(
            f'<rect x="{left:.1f}" y="4" width="{max(piece - 1, 0.5):.1f}" height="30" fill="{colour}"/>'
        )
        words = f"{name}  {amount:.4g} {unit}  {100 * amount / total:.0f} %"
        parts.append(f'<rect x="{legend:.1f}" y="50" width="11" height="11" rx="2" fill="{colour}"/>')
        parts.append(f'<text class="legend" x="{legend + 17:.1f}" y="60">{escape(words)}</text>')
        left += piece
        legend += width / len(shares)
    return "".join([*parts, "</svg>"])


def running_mean(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """The points with each y replaced by the mean of the `window` points up to it."""
    made, total = [], 0.0
    for index, (x, y) in enumerate(points):
        total += y
        if index >= window:
            total -= points[index - window][1]
        made.append((x, total / min(index + 1, window)))
    return made


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers that span [low, high], about `count` of them."""
    span = high - low
    if span <= 0:
        return [low, low + (abs(low) or 1.0)]
    raw = span / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next((s * magnitude for s in (1, 2, 2.5, 5) if s * magnitude >= raw), 10 * magnitude)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _share(value: float, low: float, high: float) -> float:
    """Where `value` lies between two others, 0 to 1."""
    return 0.5 if high <= low else (value - low) / (high - low)


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    """Points as an SVG attribute, at most 600 of them."""
    every = max(1, math.ceil(len(points) / 600))
    kept = list(points[::every])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in kept)


def _open(width: int, height: int, title: str) -> str:
    """The opening of a picture."""
    label = escape(title, quote=True)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}"><title>{escape(title)}</title>'
    )
