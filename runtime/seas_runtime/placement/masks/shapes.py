"""The shapes of real defects, cut from training masks: as a bundle's table holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import RESERVED_NAMES, describe, is_safe_name
from seas_runtime.placement.appearance.contrast import Contrast
from seas_runtime.placement.appearance.grain import MOST_ROUGH
from seas_runtime.placement.appearance.looks import LARGEST as LARGEST_LOOK
from seas_runtime.placement.morphology import BoolArray

TABLE = "placement"
"""The bundle's table that holds them."""
BITS, SIZES, PHOTOGRAPHS, SPOTS, INSIDE = "bits", "sizes", "photographs", "spots", "inside"
_KEYS = (BITS, SIZES, PHOTOGRAPHS, SPOTS, INSIDE)
CONTRASTS = "contrasts"
"""Float32 [n, 2, 3], colours inside of each mask and around it; tables of before there were any lack it."""
LOOKS, LOOK_SIZES = "looks", "look_sizes"
"""uint8 [bytes] and int32 [n, 2]: packed looks one after another, and their heights and widths; may lack."""
SHARES = "shares"
"""float32 [n]: each shape's share of its photograph's mask; without it all shapes count alike."""
OWN_LOOKS = "own_looks"
"""uint8 [n]: 1 where a look is the defect's own colours; without it none is."""
ROUGHNESS = "roughness"
"""float32 [n]: each defect's grain by that of what surrounded it; without it it is not known."""
_MAY_LACK = (CONTRASTS, LOOKS, LOOK_SIZES, OWN_LOOKS, SHARES, ROUGHNESS)
BACKGROUND = "background"
"""uint8 [1]: 1 where the product's photographs show a part on a background. No defect's: it has no slash."""
LARGEST = 1024
"""Pixels of a shape's longer side; a larger one is kept at this size, with its photograph's in proportion."""
MOST_SHAPES = 10_000
MOST_PIXELS = 1 << 28
"""Of all shapes of a table, unpacked: a byte each."""
MOST_SIDE = 1 << 17
_ADVICE = "export the bundle again"
FARTHEST = 16.0
"""How far outside of the part, in its own sizes, a spot may lie."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Shape:
    """The mask of a real defect, and where on its photograph it lay."""

    mask: BoolArray
    """[h, w], cut to its box: no row or column at the edge is empty."""
    photograph: tuple[int, int]
    """Height and width of its photograph, in pixels of the mask's size."""
    spot: tuple[float, float]
    """Centre of the box, down and across: 0 to 1 over the box of the part, beyond outside of it."""
    inside: float
    """The share of the mask that lies on the part, 0 to 1."""
    contrast: Contrast | None = None
    """How the defect differed from its surroundings."""
    share: float = 1.0
    """Of what is cut from its photograph's mask, the share of the pixels: above 0, at most 1."""

    @property
    def relative(self) -> tuple[float, float]:
        """Height and width of the box, of those of the photograph."""
        (height, width), (whole_height, whole_width) = self.mask.shape, self.photograph
        return height / whole_height, width / whole_width

    def scale_on(self, photograph: tuple[int, int]) -> float:
        """Return by how much it is scaled to be as large on a photograph of another (height, width)."""
        (height, width), (own_height, own_width) = photograph, self.photograph
        return float(np.sqrt(height * width / (own_height * own_width)))


def pack_shapes(
    by_defect: Mapping[str, Sequence[Shape]], background: bool | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a table: for each defect, of its n shapes,

    `bits` uint8, each mask's bits row by row from the highest, padded to a byte; `sizes` and `photographs`
    int32 [n, 2], heights and widths; `spots` float32 [n, 2]; `inside` and `shares` float32 [n]; and, where
    all of them have one, `contrasts` float32 [n, 2, 3], colours inside and around, `roughness` float32 [n],
    and `looks`, `look_sizes` and `own_looks`.

    `background`: whether the product's photographs show a part on a background, where that was decided.
    """
    made: dict[str, npt.NDArray[Any]] = {}
    for defect, shapes in by_defect.items():
        if not shapes:
            continue
        made[f"{defect}/{BITS}"] = np.concatenate([np.packbits(shape.mask) for shape in shapes])
        made[f"{defect}/{SIZES}"] = np.array([shape.mask.shape for shape in shapes], np.int32)
        made[f"{defect}/{PHOTOGRAPHS}"] = np.array([shape.photograph for shape in shapes], np.int32)
        made[f"{defect}/{SPOTS}"] = np.array([shape.spot for shape in shapes], np.float32)
        made[f"{defect}/{INSIDE}"] = np.array([shape.inside for shape in shapes], np.float32)
        made[f"{defect}/{SHARES}"] = np.array([shape.share for shape in shapes], np.float32)
        contrasts = [shape.contrast for shape in shapes if shape.contrast is not None]
        if len(contrasts) == len(shapes):
            made[f"{defect}/{CONTRASTS}"] = np.array([[c.inside, c.around] for c in contrasts], np.float32)
            made[f"{defect}/{ROUGHNESS}"] = np.array([c.roughness for c in contrasts], np.float32)
        looks = [contrast.look for contrast in contrasts if contrast.look is not None]
        if len(looks) == len(shapes):
            made[f"{defect}/{LOOKS}"] = np.concatenate([look.ravel() for look in looks])
            made[f"{defect}/{LOOK_SIZES}"] = np.array([look.shape[:2] for look in looks], np.int32)
            made[f"{defect}/{OWN_LOOKS}"] = np.array([contrast.own for contrast in contrasts], np.uint8)
    if background is not None:
        made[BACKGROUND] = np.array([background], np.uint8)
    return made


def has_background(tensors: Mapping[str, Array]) -> bool | None:
    """Return whether a checked table says that photographs show a background; None where it is silent."""
    return bool(tensors[BACKGROUND][0]) if BACKGROUND in tensors else None


def unpack_shapes(tensors: Mapping[str, Array], where: str) -> dict[str, list[Shape]]:
    """Return the shapes of each defect that a table, called `where` in errors, holds.

    Nothing of it is believed. Raises UserError naming the tensor, what was expected and what was found.
    """
    _check_background(tensors, where)
    names = _defects(tensors, where)
    left = MOST_PIXELS
    made: dict[str, list[Shape]] = {}
    for defect in names:
        table = {key: _tensor(tensors, f"{defect}/{key}", where) for key in _KEYS}
        place = f"{where}: {defect!r}"
        sizes, photographs = _checked_sizes(table, place)
        contrasts = _contrasts(tensors, defect, len(sizes), where)
        shares = _figures(tensors, f"{defect}/{SHARES}", (len(sizes),), 1.0, 1.0, where).tolist()
        if 0 in shares:
            raise UserError(f"{place}: {SHARES!r}: expected shares above 0, found 0; {_ADVICE}")
        left -= int(np.prod(sizes, axis=1).sum())
        if left < 0:
            raise UserError(
                f"{place}: expected at most {MOST_PIXELS} pixels in all masks, found more; {_ADVICE}"
            )
        made[defect] = [
            replace(shape, contrast=contrast, share=share)
            for shape, contrast, share in zip(
                _shapes(table, sizes, photographs, place), contrasts, shares, strict=True
            )
        ]
    return made


def _defects(tensors: Mapping[str, Array], where: str) -> list[str]:
    names = sorted({name.rpartition("/")[0] for name in tensors if name != BACKGROUND})
    for name in names:
        if not is_safe_name(name) or name.casefold() in RESERVED_NAMES:
            raise UserError(
                f"{where}: expected tensors DEFECT/{BITS} and others, found {describe(name)}; {_ADVICE}"
            )
    known = {
        BACKGROUND,
        *(f"{name}/{key}" for name in names for key in (*_KEYS, *_MAY_LACK)),
    }
    if unknown := sorted(set(tensors) - known):
        raise UserError(f"{where}: {describe(unknown[0])} is no tensor of a placement table; {_ADVICE}")
    return names


def _check_background(tensors: Mapping[str, Array], where: str) -> None:
    found = tensors.get(BACKGROUND)
    if found is not None and (found.dtype != np.uint8 or found.shape != (1,) or found[0] > 1):
        raise UserError(
            f"{where}: {BACKGROUND!r}: expected uint8 [1], 0 or 1, found {_form(found)}; {_ADVICE}"
        )


def _tensor(tensors: Mapping[str, Array], name: str, where: str) -> Array:
    key = name.rpartition("/")[2]
    if name not in tensors:
        raise UserError(f"{where}: no tensor {name!r}; {_ADVICE}")
    dtype, dimensions = {
        BITS: (np.uint8, 1),
        SIZES: (np.int32, 2),
        PHOTOGRAPHS: (np.int32, 2),
        SPOTS: (np.float32, 2),
        INSIDE: (np.float32, 1),
    }[key]
    found = tensors[name]
    if found.dtype != dtype or found.ndim != dimensions or (dimensions == 2 and found.shape[1] != 2):
        shape = "[n, 2]" if dimensions == 2 else "[n]"
        raise UserError(
            f"{where}: {name!r}: expected {np.dtype(dtype)} {shape}, found {_form(found)}; {_ADVICE}"
        )
    return found


def _contrasts(tensors: Mapping[str, Array], defect: str, count: int, where: str) -> list[Contrast | None]:
    """Return the contrast of each of `count` shapes; none of a table that has none."""
    looks = _looks(tensors, defect, count, where)
    name = f"{defect}/{CONTRASTS}"
    if name not in tensors:
        return [None] * count
    colours = _figures(tensors, name, (count, 2, 3), 0.0, 255.0, where)
    rough = _figures(tensors, f"{defect}/{ROUGHNESS}", (count,), 0.0, MOST_ROUGH, where).tolist()
    return [
        Contrast(inside, around, look, own, roughness)
        for (inside, around), (look, own), roughness in zip(colours, looks, rough, strict=True)
    ]


def _figures(
    tensors: Mapping[str, Array], name: str, shape: Sequence[int], usual: float, most: float, where: str
) -> Array:
    """Return figures of shapes, float32 from 0 to `most`; `usual` of a table that has none."""
    found = tensors.get(name, np.full(shape, usual, np.float32))
    if found.dtype != np.float32 or found.shape != tuple(shape):
        raise UserError(f"{where}: {name!r}: expected float32 {list(shape)}, found {_form(found)}; {_ADVICE}")
    if not ((found >= 0) & (found <= most)).all():
        raise UserError(f"{where}: {name!r}: expected 0 to {most:g}, found others; {_ADVICE}")
    return found


def _looks(
    tensors: Mapping[str, Array], defect: str, count: int, where: str
) -> list[tuple[npt.NDArray[np.uint8] | None, bool]]:
    """Return the packed look of each of `count` shapes, and whether it is the defect's own colours; none of a
    table that has none."""
    own_name = f"{defect}/{OWN_LOOKS}"
    own = tensors.get(own_name, np.zeros(count, np.uint8))
    if own.dtype != np.uint8 or own.shape != (count,) or (own > 1).any():
        raise UserError(
            f"{where}: {own_name!r}: expected uint8 {[count]}, 0 or 1, found {_form(own)}; {_ADVICE}"
        )
    name, sizes_name = f"{defect}/{LOOKS}", f"{defect}/{LOOK_SIZES}"
    found, sizes = tensors.get(name), tensors.get(sizes_name)
    if found is None and sizes is None:
        return [(None, False)] * count
    if sizes is None or sizes.dtype != np.int32 or sizes.shape != (count, 2):
        form = "none" if sizes is None else _form(sizes)
        raise UserError(f"{where}: {sizes_name!r}: expected int32 {[count, 2]}, found {form}; {_ADVICE}")
    if ((sizes < 1) | (sizes > LARGEST_LOOK)).any():
        raise UserError(
            f"{where}: {sizes_name!r}: expected sides of 1 to {LARGEST_LOOK} pixels, found others; {_ADVICE}"
        )
    ends = np.cumsum(np.prod(sizes.astype(np.int64), axis=1) * 3)
    if found is None or found.dtype != np.uint8 or found.shape != (int(ends[-1]),):
        form = "none" if found is None else _form(found)
        raise UserError(f"{where}: {name!r}: expected uint8 {[int(ends[-1])]}, found {form}; {_ADVICE}")
    parts = np.split(found, ends[:-1])
    return [
        (part.reshape(*size, 3), bool(flag))
        for part, size, flag in zip(parts, sizes.tolist(), own, strict=True)
    ]


def _form(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _checked_sizes(table: Mapping[str, Array], place: str) -> tuple[Array, Array]:
    """Return the sizes of masks and photographs, int64 [n, 2], once all tensors are of one length."""
    count = len(table[SIZES])
    if not 1 <= count <= MOST_SHAPES:
        raise UserError(f"{place}: expected 1 to {MOST_SHAPES} shapes, found {count}; {_ADVICE}")
    for key in (PHOTOGRAPHS, SPOTS, INSIDE):
        if len(table[key]) != count:
            raise UserError(f"{place}: {key}: expected {count} rows, found {len(table[key])}; {_ADVICE}")
    sizes, photographs = table[SIZES].astype(np.int64), table[PHOTOGRAPHS].astype(np.int64)
    if (sizes < 1).any() or (sizes > photographs).any() or (photographs > MOST_SIDE).any():
        raise UserError(
            f"{place}: {SIZES}: expected masks of at least one pixel that are not larger than their "
            f"photographs, of at most {MOST_SIDE} pixels a side; {_ADVICE}"
        )
    spots, inside = table[SPOTS], table[INSIDE]
    if not (np.isfinite(spots).all() and (np.abs(spots - 0.5) <= FARTHEST).all()):
        raise UserError(f"{place}: {SPOTS}: expected places on a photograph, found others; {_ADVICE}")
    if not ((inside >= 0) & (inside <= 1)).all():
        raise UserError(f"{place}: {INSIDE}: expected shares from 0 to 1, found others; {_ADVICE}")
    expected = int(((np.prod(sizes, axis=1) + 7) // 8).sum())
    if len(table[BITS]) != expected:
        raise UserError(
            f"{place}: {BITS}: expected {expected} bytes for masks of these sizes, found {len(table[BITS])}; "
            f"{_ADVICE}"
        )
    return sizes, photographs


def _shapes(table: Mapping[str, Array], sizes: Array, photographs: Array, place: str) -> Iterator[Shape]:
    start = 0
    for index, (height, width) in enumerate(sizes.tolist()):
        end = start + (height * width + 7) // 8
        mask = np.unpackbits(table[BITS][start:end], count=height * width).reshape(height, width).astype(bool)
        start = end
        if not (mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()):
            raise UserError(f"{place}: {BITS}: expected masks cut to their boxes, found another; {_ADVICE}")
        spot, inside = table[SPOTS][index], float(table[INSIDE][index])
        whole_height, whole_width = photographs[index].tolist()
        whole = whole_height, whole_width
        yield Shape(mask, whole, (float(spot[0]), float(spot[1])), inside)
