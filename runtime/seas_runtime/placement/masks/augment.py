"""Makes new shapes of real ones: turned, mirrored, scaled, sheared, thinner or thicker, smoothly warped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from seas_runtime.placement.appearance.grain import with_grain
from seas_runtime.placement.appearance.looks import EDGE, Look, margin, unpacked
from seas_runtime.placement.masks.borders import NO_SIDES, Sides, continued, cut_off
from seas_runtime.placement.masks.borders import TURN as BORDER_TURN
from seas_runtime.placement.masks.borders import WARP as BORDER_WARP
from seas_runtime.placement.masks.shapes import LARGEST, Shape
from seas_runtime.placement.morphology import BoolArray, Box, box_of, cut_to_box
from seas_runtime.placement.regions import scale_mask

SCALE = (0.7, 1.4)
"""Sizes by the shape's own."""
BEYOND = 0.1
"""How far beyond the smallest and the largest of a defect's shapes a size may go."""
CUTS = 0.1
"""A defect's photographs whose sides' ratios differ by more, in the logarithm, are cuts out of a scene: a
pixel is as large on all of them. Others may be of other resolutions: a defect keeps its share of one."""
SPARE = 2.0
"""A cut's sides by a shape's at least, for the shape to stay as large as it is in pixels: one that hardly has
room on another cut keeps its share of it."""
STRETCHED = 1.5
"""A look that was scaled by so much more one way than the other has lost its grain to streaks."""
SHEAR = 0.15
GROWTH = 0.15
"""Of the thickness: how much thinner or thicker a shape gets at most."""
WARP = 0.05
"""Of the longer side: the warp's standard deviation at most."""
WARP_POINTS = 4
"""Steps along the longer side of the grid whose random shifts the warp passes through: it bends, and does not
crumple."""
TURN = math.radians(10), math.radians(30)
"""How far shapes whose directions agree are turned at least and at most: as far as these are apart."""
AGREEING = 0.8
"""Directions agree where the length of their mean (0 to 1, of doubled angles) is at least that."""
ROUND = 1.3
"""A shape whose longer axis is less than that times its shorter one has no direction."""
WORKED_AT = (256, 1024)
"""Pixels of the longer side that a shape is worked on with, at least and at most."""
STROKE = 4
"""Pixels of its thickness at least that a shape is worked on with, so that no thin one breaks."""
THIN, FAINT = 3, 0.3
"""Of shapes thinner than so many pixels those are kept that are covered by so much, for the same reason."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ranges:
    """What the shapes of one defect have in common."""

    cuts: bool
    """Whether a pixel is as large on all their photographs, see `CUTS`."""
    smallest: float
    largest: float
    """Longer sides: in pixels where these are `cuts`, else by the root of the photograph's pixels."""
    turn: float
    """How far a shape may be turned, in radians: pi is any way."""

    @classmethod
    def of(cls, shapes: Sequence[Shape]) -> Ranges:
        """Return those of a defect's shapes, one at least."""
        ratios = [math.log(shape.photograph[1] / shape.photograph[0]) for shape in shapes]
        cuts = max(ratios) - min(ratios) > CUTS and all(max(s.mask.shape) < LARGEST for s in shapes)
        sizes = [_size(shape, cuts) for shape in shapes]
        return cls(cuts, min(sizes), max(sizes), _turn(shapes))

    def scale_on(self, shape: Shape, photograph: tuple[int, int]) -> float:
        """Return by how much one of the shapes is scaled for a photograph of (height, width)."""
        spare = min(whole / side for whole, side in zip(photograph, shape.mask.shape, strict=True))
        return 1.0 if self.cuts and spare > SPARE else shape.scale_on(photograph)

    def scale(self, random: np.random.Generator, shape: Shape) -> float:
        """Draw a size by the shape's own, evenly in its logarithm."""
        size = _size(shape, self.cuts)
        low = max(SCALE[0], (1 - BEYOND) * self.smallest / size)
        high = min(SCALE[1], (1 + BEYOND) * self.largest / size)
        return math.exp(random.uniform(math.log(low), math.log(high)))


def augment(
    random: np.random.Generator,
    shape: Shape,
    ranges: Ranges,
    photograph: tuple[int, int],
    sides: Sides = NO_SIDES,
) -> tuple[BoolArray, FloatArray, Look | None]:
    """Return a new shape [h, w] of a real one, for a photograph of (height, width), cut to its box.

    And how it was turned and mirrored: [2, 2], which takes (across, down) of the real one to the new one's;
    and its look, made anew in the same way, where the real one's is known. A shape that borders cut off, its
    `sides`, is hardly turned, and where it lay across all of its photograph it does so again.
    """
    usual = ranges.scale_on(shape, photograph) * ranges.scale(random, shape)
    scales = sides.scales(usual, shape.photograph, photograph)
    mask, beyond = continued(shape.mask, sides)
    longest = max(mask.shape) * max(scales)
    thickness = _thickness(mask)
    thin = STROKE * max(mask.shape) / thickness
    worked = min(max(longest, thin, WORKED_AT[0]), WORKED_AT[1]) / max(mask.shape)
    height, width = (max(1, round(side * worked)) for side in mask.shape)
    method = Image.Resampling.BOX if worked < 1 else Image.Resampling.BILINEAR
    soft = np.asarray(Image.fromarray(mask.astype(np.float32)).resize((width, height), method))
    turned = _turned(random, ranges, sides.any)
    paths = _paths(random, soft.shape, turned, sides.any)
    warped = _sampled(soft, *paths)
    made = thicker(warped, random.uniform(-GROWTH, GROWTH), FAINT if thickness < THIN else 1)
    if not made.any():
        made = warped >= 0.5
    if not made.any():
        made = warped >= warped.max()
    box = box_of(made)
    made = cut_to_box(made)
    now, spare = sides.turned(turned), [round(beyond * scale) for scale in scales]
    height, width = (
        max(1, round(side * scale / worked)) for side, scale in zip(made.shape, scales, strict=True)
    )
    height = photograph[0] + 2 * spare[0] if sides.down else height
    width = photograph[1] + 2 * spare[1] if sides.across else width
    covered = FAINT if _thickness(made) * min(scales) / worked < THIN else 0.5
    final = scale_mask(made, (height, width), covered)
    look = None
    if shape.contrast is not None and shape.contrast.look is not None:
        before = beyond * sides.left, beyond * sides.top
        real = [
            (path + 0.5) * (whole / part) - start - 0.5
            for path, whole, part, start in zip(
                paths, mask.shape[::-1], soft.shape[::-1], before, strict=True
            )
        ]
        found = _new_look(shape.contrast.look, shape.mask.shape, real, box, (height, width))
        own = shape.contrast.own
        values, all_own = unpacked(found, own), np.full(found.shape[:2], own)
        tone, rough = float(shape.contrast.around.mean()), shape.contrast.roughness
        stretched = max(scales) > STRETCHED * min(scales)
        look = Look(values, tone, all_own, rough, stretched).cut(box_of(final))
    final, look = cut_off(cut_to_box(final), look, now, (spare[0], spare[1]))
    return final, turned, look


def _size(shape: Shape, cuts: bool) -> float:
    longest = max(shape.mask.shape)
    return float(longest if cuts else longest / math.sqrt(shape.photograph[0] * shape.photograph[1]))


def _turn(shapes: Sequence[Shape]) -> float:
    """Return how far shapes may be turned: any way where their directions disagree, or none has one."""
    directions = [found for shape in shapes if (found := direction(shape.mask)) is not None]
    if not directions:
        return math.pi
    mean = complex(np.mean(np.exp(2j * np.array(directions))))
    if abs(mean) < AGREEING or len(directions) < len(shapes) / 2:
        return math.pi
    away = np.angle(np.exp(2j * np.array(directions)) / mean) / 2
    return float(np.clip(np.sqrt(np.mean(away**2)), *TURN))


def direction(mask: BoolArray) -> float | None:
    """Return the angle of a shape's longer axis to the rows, in radians; None for one that is round."""
    rows, columns = np.nonzero(mask)
    if len(rows) < 2:
        return None
    moments = np.cov(np.stack([columns, rows]).astype(np.float64)) + np.eye(2) / 12  # a pixel has a width
    lengths, axes = np.linalg.eigh(moments)
    if math.sqrt(lengths[1] / lengths[0]) < ROUND:
        return None
    return math.atan2(axes[1, 1], axes[0, 1])


def _turned(random: np.random.Generator, ranges: Ranges, at_border: bool) -> FloatArray:
    """Draw a turn and a reflection [2, 2]; of shapes whose directions agree, only the half turn is safe."""
    most = min(ranges.turn, BORDER_TURN) if at_border else ranges.turn
    angle = random.uniform(-most, most)
    mirrored, half = random.random(2) < 0.5
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = np.array([[cosine, -sine], [sine, cosine]], np.float32) * (-1 if half else 1)
    return turned * np.array([[-1], [1]], np.float32) if mirrored and ranges.turn >= math.pi else turned


def _new_look(
    packed: npt.NDArray[np.uint8],
    size: Sequence[int],
    paths: Sequence[FloatArray],
    box: Box,
    final: tuple[int, int],
) -> FloatArray:
    """Return the packed look [h + 2 EDGE, w + 2 EDGE, 3] of a shape made anew.

    Args:
        packed: the real one's look [h, w, 3], see `measure_look`.
        size: height and width of its mask.
        paths: where across and down in that each pixel of the new one, as worked on, comes from.
        box: of the new one in these.
        final: its height and width in the end.
    """
    top, left, bottom, right = box
    scale = [(bottom - top) / final[0], (right - left) / final[1]]  # worked pixels a final one
    rows = top + (np.arange(final[0] + 2 * EDGE) - EDGE + 0.5) * scale[0] - 0.5
    columns = left + (np.arange(final[1] + 2 * EDGE) - EDGE + 0.5) * scale[1] - 0.5
    finer = max(1, round(min(scale) / 2))  # where a final pixel is many worked ones, it is their mean
    steps = (np.arange(finer) + 0.5) / finer - 0.5
    rows = (rows[:, None] + steps * scale[0]).ravel()
    columns = (columns[:, None] + steps * scale[1]).ravel()
    x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    from_x, from_y = (_sampled(path, x, y, "edge") for path in paths)
    around = margin(size)
    wide_x, wide_y = (packed.shape[axis] / (side + 2 * around) for axis, side in ((1, size[1]), (0, size[0])))
    at_x = (from_x + 0.5 + around) * wide_x - 0.5
    at_y = (from_y + 0.5 + around) * wide_y - 0.5
    values = packed.astype(np.float32)
    found = np.stack([_sampled(values[..., channel], at_x, at_y, "edge") for channel in range(3)], -1)
    means = found.reshape(final[0] + 2 * EDGE, finer, final[1] + 2 * EDGE, finer, 3).mean((1, 3))
    down, across = round((around - EDGE) * wide_y), round((around - EDGE) * wide_x)
    real = values[down : len(values) - down, across : values.shape[1] - across]
    return with_grain(np.asarray(means, np.float32), real)


def _paths(
    random: np.random.Generator, size: Sequence[int], turned: FloatArray, at_border: bool
) -> tuple[FloatArray, FloatArray]:
    """Return where across and down each pixel comes from of a mask of (height, width) that is turned, sheared
    and bent, in a picture [h, w] that holds it all."""
    shear = np.array([[1, random.uniform(-SHEAR, SHEAR) * (not at_border)], [0, 1]])
    matrix = turned.T @ shear  # of (across, down): what is at x comes from matrix @ x
    height, width = size
    longest = max(height, width)
    ends = np.array([[-1, 1, -1, 1], [-1, -1, 1, 1]]) * [[width / 2], [height / 2]]
    corners = np.linalg.inv(matrix) @ ends
    margin = 3 * WARP * longest + 2
    across, down = (math.ceil(2 * (np.abs(corners[axis]).max() + margin)) for axis in (0, 1))
    x, y = np.meshgrid(np.arange(across) - (across - 1) / 2, np.arange(down) - (down - 1) / 2)
    warp = BORDER_WARP if at_border else WARP
    points = [max(2, 1 + math.ceil(WARP_POINTS * side / longest)) for side in (down, across)]
    shifts = random.standard_normal((2, *points)) * random.uniform(0, warp) * longest
    bent = [
        np.asarray(
            Image.fromarray(np.clip(shift, -margin, margin).astype(np.float32)).resize(
                (across, down), Image.Resampling.BICUBIC
            )
        )
        for shift in shifts
    ]
    from_x = matrix[0, 0] * x + matrix[0, 1] * y + bent[0] + (width - 1) / 2
    from_y = matrix[1, 0] * x + matrix[1, 1] * y + bent[1] + (height - 1) / 2
    return from_x.astype(np.float32), from_y.astype(np.float32)


def _sampled(
    values: FloatArray, x: FloatArray, y: FloatArray, outside: Literal["constant", "edge"] = "constant"
) -> FloatArray:
    """Return bilinear samples of `values` [h, w] at places across and down; outside 0, or the edge's."""
    padded = np.pad(values, 1, mode=outside)
    height, width = padded.shape
    x, y = np.clip(x + 1, 0, width - 1.001), np.clip(y + 1, 0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, low = x - left, y - top
    flat, place = padded.ravel(), top * width + left
    upper = flat[place] * (1 - right) + flat[place + 1] * right
    lower = flat[place + width] * (1 - right) + flat[place + width + 1] * right
    sampled: FloatArray = upper * (1 - low) + lower * low
    return sampled


def thicker(soft: FloatArray, share: float, most: float = 1) -> BoolArray:
    """Return a mask [h, w], 0 to 1, cut so that it is thicker by that share of its thickness; negative for
    thinner. It is cut at `most` at the highest.

    A blurred edge is a normal distribution's: a threshold moves it by so many standard deviations.
    """
    mask = soft >= 0.5
    thickness = _thickness(mask)
    sigma = max(0.7, 0.1 * thickness)
    threshold = 0.5 * (1 - math.erf(share * thickness / 2 / sigma / math.sqrt(2)))
    picture = Image.fromarray(np.rint(np.pad(soft, 2) * 255).astype(np.uint8))
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(sigma)))
    grown: BoolArray = blurred >= 255 * min(threshold, most)
    return grown


def _thickness(mask: BoolArray) -> float:
    """Return twice the area by the length of the outline: the width of a stroke, half of a disc's."""
    inner = np.pad(mask, 1)
    inner = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    outline = int((mask & ~inner).sum())
    return 2 * int(mask.sum()) / max(outline, 1)
