"""What is asked of placements: where, from which masks, how many in a picture. Checked once, here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import describe

AUTO, FOREGROUND, GRABCUT, ANYWHERE, GIVEN = "auto", "foreground", "grabcut", "anywhere", "given"
WHERE = (AUTO, FOREGROUND, GRABCUT, ANYWHERE, GIVEN)
SHAPES, BOXES = "shapes", "boxes"
MOST = 100
"""Masks in a picture."""
MOST_PIXELS = 16384
"""Of a rectangle's side."""


@dataclass(frozen=True)
class PlacementOptions:
    """Where a defect goes and in what shape; JSON values alone. Raises UserError for one that cannot be."""

    where: str = AUTO
    """`auto`: where this product's training defects lie on the part; `foreground`: anywhere on the part;
    `grabcut`: the same, the part found by OpenCV's GrabCut; `anywhere` in the picture; `given`: where a
    folder's masks have it; or the path of a legal area."""
    per_picture: tuple[int, int] = (1, 1)
    """The fewest and the most masks that are joined in a picture, of one defect."""
    source: str = SHAPES
    """`shapes`: the bundle's, augmented; `boxes`: rectangles; or the path of a folder of masks. `auto`, which
    the bundle's method decides, is to be replaced before anything is drawn."""
    sizes: tuple[float, float] | None = None
    """The shortest and the longest side of rectangles in pixels; None for those of the shapes' boxes."""
    legal: str | None = None
    """The path of an area outside of which no mask may lie."""
    forbidden: str | None = None
    """The path of an area in which no mask may lie."""
    per_background: tuple[int, int] | None = None
    """N placements in a row on one photograph, and M pairs in a row of one placement; None draws both anew
    for each pair, and for each attempt at it."""

    def __post_init__(self) -> None:
        for name in ("where", "source"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise UserError(f"{_NAMES[name]}: expected {_EXPECTED[name]}, found {describe(value)}")
        for name in ("legal", "forbidden"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise UserError(f"{_NAMES[name]}: expected {_EXPECTED[name]}, found {describe(value)}")
        for name, most, kind in (("per_picture", MOST, int), ("sizes", MOST_PIXELS, (int, float))):
            value = getattr(self, name)
            if value is None and name == "sizes":
                continue
            pair = isinstance(value, (list, tuple)) and len(value) == 2
            if not pair or not all(isinstance(v, kind) and not isinstance(v, bool) for v in value):
                raise UserError(f"{_NAMES[name]}: expected {_EXPECTED[name]}, found {describe(value)}")
            if not 1 <= value[0] <= value[1] <= most:
                raise UserError(
                    f"{_NAMES[name]}: expected {_EXPECTED[name]}, found {value[0]}:{value[1]}; "
                    "give the lower one first"
                )
            object.__setattr__(self, name, tuple(value))  # a list of JSON, hashable
        if self.per_background is not None:
            value = self.per_background
            pair = isinstance(value, (list, tuple)) and len(value) == 2
            if not pair or not all(type(v) is int and 1 <= v <= MOST for v in value):
                found, expected = describe(value), _EXPECTED["per_background"]
                raise UserError(f"--per-background: expected {expected}, found {found}")
            object.__setattr__(self, "per_background", tuple(value))
        if self.sizes is not None and self.source not in (BOXES, AUTO):
            raise UserError("--box-sizes: are of --placement-source boxes; give that, or leave them out")
        if self.where == GIVEN and self.source in (SHAPES, BOXES):
            raise UserError(
                "--where given: masks of a folder alone have a place of their own; give it as "
                "--placement-source DIR"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PlacementOptions:
        """Read what `to_dict` wrote; UserError for other keys."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UserError(f"placement: expected {', '.join(sorted(known))}, found {describe(unknown[0])}")
        return cls(**dict(values))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; what is by default is left out."""
        default = asdict(PlacementOptions())
        found = {name: value for name, value in asdict(self).items() if value != default[name]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


_NAMES = {
    "where": "--where",
    "per_picture": "--per-picture",
    "source": "--placement-source",
    "sizes": "--box-sizes",
    "legal": "--legal",
    "per_background": "--per-background",
    "forbidden": "--forbidden",
}
_EXPECTED = {
    "where": f"{', '.join(WHERE)} or a file",
    "per_picture": f"a number of masks from 1 to {MOST}, or a range such as 1:3",
    "source": f"{SHAPES}, {BOXES} or a folder of masks",
    "sizes": f"pixels from 1 to {MOST_PIXELS}, or a range such as 10:60",
    "per_background": f"NxM, two numbers from 1 to {MOST}, such as 2x2",
    "legal": "a mask picture or LabelMe's JSON",
    "forbidden": "a mask picture or LabelMe's JSON",
}


def parse_counts(text: str) -> tuple[int, int]:
    """Return the range that `--per-picture` gives, `3` or `1:3`; UserError for another text."""
    low, high = _parsed(text, "per_picture")
    if low != int(low) or high != int(high):
        raise UserError(f"--per-picture: expected {_EXPECTED['per_picture']}, found {describe(text)}")
    return int(low), int(high)


def parse_background(text: str) -> tuple[int, int]:
    """Return placements a photograph and pairs a placement of `--per-background`; UserError for others."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise UserError(f"--per-background: expected {_EXPECTED['per_background']}, found {describe(text)}")
    return int(parts[0]), int(parts[1])


def parse_sizes(text: str) -> tuple[float, float]:
    """Return the range of pixels that `--box-sizes` gives, `20` or `10:60`; UserError for another text."""
    return _parsed(text, "sizes")


def _parsed(text: str, name: str) -> tuple[float, float]:
    first, colon, last = text.strip().partition(":")
    try:
        low = float(first)
        high = float(last) if colon else low
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f"{_NAMES[name]}: expected {_EXPECTED[name]}, found {describe(text)}")
    return low, high
