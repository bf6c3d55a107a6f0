"""Charts as inline SVG, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

COLOURS = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#dc2626", "#475569")

_WIDTH, _HEIGHT = 340, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, _WIDTH - 12, 14, _HEIGHT - 34
_POINTS = 600  # of a curve; a page has no use for more


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
        return _nothing(title)
    xs, ys = zip(*points, strict=True)
    y_ticks = ticks(min(0.0, *ys), max(ys), 4)
    low, high, highest = min(xs), max(xs), max(y_ticks[-1], *ys)

    def place(x: float, y: float) -> tuple[float, float]:
        """A point in the picture's coordinates."""
        return (
            _LEFT + _share(x, low, high) * (_RIGHT - _LEFT),
            _BOTTOM - _share(y, y_ticks[0], highest) * (_BOTTOM - _TOP),
        )

    def curve(points: Sequence[tuple[float, float]], **attributes: str) -> None:
        """Add a curve of at most _POINTS points."""
        kept = list(points[:: math.ceil(len(points) / _POINTS)])
        kept += [points[-1]] if kept[-1] != points[-1] else []
        places = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in kept)
        _draw(picture, "polyline", points=places, fill="none", stroke=colour, **attributes)

    picture = _picture(_WIDTH, _HEIGHT, title)
    for tick in y_ticks:
        _, y = place(low, tick)
        _draw(picture, "line", class_="grid", x1=_LEFT, x2=_RIGHT, y1=y, y2=y)
        _draw(picture, "text", f"{tick:.4g}", class_="tick", x=_LEFT - 6, y=y + 3.5, text_anchor="end")
    labels = [
        (place(tick, 0)[0], _BOTTOM + 15, f"{tick:.6g}")
        for tick in ticks(low, high, 5)
        if low <= tick <= high
    ]
    for x, y, text in (*labels, ((_LEFT + _RIGHT) / 2, _HEIGHT - 4, x_label)):
        _draw(picture, "text", text, class_="tick", x=x, y=y, text_anchor="middle")
    if smooth:
        curve(points, stroke_opacity=".22")
        curve(running_mean(points, max(1, len(points) // 50)), stroke_width="1.8")
    else:
        curve(points, stroke_width="1.8")
    for x, y in map(lambda point: place(*point), points if markers else ()):
        _draw(picture, "circle", cx=x, cy=y, r=3.5, fill=colour)
    return ElementTree.tostring(picture, encoding="unicode")


def share_bar(shares: Sequence[tuple[str, float]], *, title: str) -> str:
    """One stacked horizontal bar of named seconds, with a legend of milliseconds and shares below it."""
    total = sum(seconds for _, seconds in shares)
    if total <= 0:
        return _nothing(title)
    width, height = 1080, 74
    picture = _picture(width, height, title)
    left = 0.0
    for index, (name, seconds) in enumerate(shares):
        colour = COLOURS[index % len(COLOURS)]
        piece, legend = width * seconds / total, width * index / len(shares)
        _draw(picture, "rect", x=left, y=4, width=max(piece - 1, 0.5), height=30, fill=colour)
        _draw(picture, "rect", x=legend, y=50, width=11, height=11, rx=2, fill=colour)
        words = f"{name}  {1000 * seconds:.4g} ms  {100 * seconds / total:.0f} %"
        _draw(picture, "text", words, class_="legend", x=legend + 17, y=60)
        left += piece
    return ElementTree.tostring(picture, encoding="unicode")


def running_mean(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """The points with each y replaced by the mean of the `window` points up to it."""
    xs, ys = np.array(points, dtype=np.float64).T
    sums = np.convolve(ys, np.ones(window))[: len(ys)]
    return list(zip(xs.tolist(), (sums / np.minimum(np.arange(len(ys)) + 1, window)).tolist(), strict=True))


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


def _nothing(title: str) -> str:
    """In a chart's place where there is nothing to draw."""
    words = ElementTree.Element("p", {"class": "empty"})
    words.text = f"{title}: nothing recorded"
    return ElementTree.tostring(words, encoding="unicode")


def _picture(width: int, height: int, title: str) -> ElementTree.Element:
    """An empty picture."""
    made = ElementTree.Element(
        "svg", {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": title}
    )
    _draw(made, "title", title)
    return made


def _draw(picture: ElementTree.Element, kind: str, text: str = "", **attributes: float | str) -> None:
    """Add an element; `class_` and `text_anchor` are the attributes class and text-anchor."""
    values = {
        name.rstrip("_").replace("_", "-"): f"{value:.1f}" if isinstance(value, float) else str(value)
        for name, value in attributes.items()
    }
    ElementTree.SubElement(picture, kind, values).text = text
