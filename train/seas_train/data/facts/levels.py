"""Which values of a product's files become black and white, and what the report says of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seas_train.data.facts.decode import ImageFacts, Levels
from seas_train.data.images import BIT_DEPTHS, Preprocessing, Window

PERCENTILES = (0.1, 99.9)  # of all pixels: dead and hot ones do not count
MARGIN = 0.05  # of the span between the percentiles, on both sides
TENTH = 0.1  # of the range: pictures that use less are flat to a network


@dataclass(frozen=True)
class LevelsFound:
    """The range of a product's values, and the words for it."""

    preprocessing: Preprocessing
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    flat: str
    """Why the pictures are nearly flat after conversion; empty where they are not."""
    facts: dict[str, Any]
    """For the report's JSON."""


def choose_levels(
    images: Iterable[ImageFacts], preprocessing: Preprocessing, wanted: Window | tuple[float, float]
) -> LevelsFound:
    """Choose the window and the bit depth for a product from the facts of its pictures.

    Files of 8 bits are taken as they are, unless a window is given. Others are scaled from the smallest usual
    bit depth that holds their values; where `auto` finds that they use under a tenth of it, or values that no
    depth holds, the window is between the percentiles of all pictures.
    """
    told = [facts for facts in images if facts.levels is not None]
    wide = [facts.levels for facts in told if facts.levels is not None and facts.levels.wide]
    notes, warnings = [], []
    depths = Counter(facts.depth for facts in told)
    words = ", ".join(f"{count} {depth}" for depth, count in sorted(depths.items(), key=lambda d: -d[1]))
    window = None if isinstance(wanted, Window) else wanted
    if wide:
        preprocessing = replace(preprocessing, bit_depth=_bit_depth(wide))
        notes.append(f"pictures by depth: {words}")
        if isinstance(wanted, Window):
            window = _window(wide, preprocessing.bit_depth, wanted)
        if window is None:
            notes.append(_depth_note(wide, preprocessing.bit_depth))
            warnings += _depths_differ(wide, preprocessing.bit_depth)
    if window is not None:
        preprocessing = replace(preprocessing, window=window)
        how = "from the percentiles of all pictures" if wanted is Window.AUTO else "as asked for"
        how = "from the lowest to the highest" if wanted is Window.FULL else how
        text = f"{_number(window[0])} to {_number(window[1])}"
        notes.append(f"window: values of {text} become black to white ({how}); --window LOW,HIGH or full")
    facts = {
        "depths": dict(depths),
        "bit_depth": preprocessing.bit_depth if wide else 8,
        "window": None if window is None else list(window),
    }
    return LevelsFound(preprocessing, tuple(notes), tuple(warnings), _flat(told, preprocessing, facts), facts)


def is_blank(facts: ImageFacts, preprocessing: Preprocessing) -> bool:
    """Whether every pixel has one value after conversion."""
    if facts.levels is None or not facts.channels:
        return False
    low, high = _range(facts.levels, preprocessing)
    scale = 255 / (high - low)
    ends = [[min(max(round((v - low) * scale), 0), 255) for v in channel] for channel in facts.channels]
    return all(least == most for least, most in ends)


def _bit_depth(wide: Sequence[Levels]) -> int:
    peak = max(levels.most for levels in wide)
    return next((bits for bits in BIT_DEPTHS if peak < 2**bits), 16)


def _window(wide: Sequence[Levels], depth: int, wanted: Window) -> tuple[float, float] | None:
    """The window that follows from the values, None where it is the whole range."""
    least, most = min(levels.least for levels in wide), max(levels.most for levels in wide)
    pooled = np.concatenate([levels.pooled.astype(np.float64) for levels in wide])
    real = any(np.issubdtype(levels.pooled.dtype, np.floating) for levels in wide)
    full = (0.0, 1.0) if real else (0.0, 2.0**depth - 1)
    held = full[0] <= least and most <= full[1]
    if wanted is Window.FULL:
        return None if held or least == most else (least, most)
    low, high = (float(value) for value in np.percentile(pooled, PERCENTILES))
    if low == high or (held and high - low >= TENTH * (full[1] - full[0])):
        return None if held or least == most else (least, most)
    margin = MARGIN * (high - low)
    step = 10.0 ** (math.floor(math.log10(high - low)) - 1)  # round numbers: one more picture changes nothing
    low, high = math.floor((low - margin) / step) * step, math.ceil((high + margin) / step) * step
    if held:
        low, high = max(low, full[0]), min(high, full[1])
    return round(low, 9), round(high, 9)


def _depth_note(wide: Sequence[Levels], depth: int) -> str:
    if all(np.issubdtype(levels.pooled.dtype, np.floating) for levels in wide):
        return "images of floating point hold values from 0 to 1: they are scaled from that"
    peak = max(levels.most for levels in wide)
    return f"16-bit images hold values up to {peak:.0f}: they are scaled from {depth} bits"


def _depths_differ(wide: Sequence[Levels], depth: int) -> list[str]:
    """A warning where a few files alone set the depth: all the others become dark."""
    other = [levels for levels in wide if _bit_depth([levels]) <= depth - 2]
    if 2 * len(other) < len(wide):
        return []
    most, end = max(levels.most for levels in other), 2 ** _bit_depth(other) - 1
    return [
        f"{len(wide) - len(other)} of {len(wide)} pictures hold values of {depth} bits, the others none "
        f"above {most:.0f}: those become dark. If they are of one camera, --window 0,{end}"
    ]


def _range(levels: Levels, preprocessing: Preprocessing) -> tuple[float, float]:
    """The values of a picture that become 0 and 255."""
    window = preprocessing.window
    if window is not None and (levels.wide or window[1] <= 255):
        return window
    if not levels.wide:
        return 0.0, 255.0
    real = np.issubdtype(levels.pooled.dtype, np.floating)
    return (0.0, 1.0) if real else (0.0, 2.0**preprocessing.bit_depth - 1)


def _flat(told: Sequence[ImageFacts], preprocessing: Preprocessing, facts: dict[str, Any]) -> str:
    """Say that the pictures use under a tenth of the range, by the median picture."""
    spans = []
    for found in told:
        if found.levels is not None:
            low, high = _range(found.levels, preprocessing)
            ends = [min(max(v, low), high) for v in (found.levels.low, found.levels.high)]
            spans.append((ends[1] - ends[0]) / (high - low))
    if not spans:
        return ""
    share = float(np.median(spans))
    facts["range_used"] = round(share, 3)
    if share >= TENTH:
        return ""
    lows = np.median([found.levels.low for found in told if found.levels is not None])
    highs = np.median([found.levels.high for found in told if found.levels is not None])
    return (
        f"the pictures use {100 * share:.1f} % of the range ({255 * share:.0f} of 255 levels; most of their "
        f"values are {_number(lows)} to {_number(highs)}): they are nearly flat. If that is what the defects "
        f"are seen by, stretch it with --window LOW,HIGH"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.4g}"
