"""Draws a batch: crops of pictures at their own resolution, turned, mirrored, scaled, brighter or darker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from seas_train.proof.anomalies import Anomalies
from seas_train.proof.pictures import Pictures, Sample
from seas_train.settings import Bound

TURN = math.radians(15)
ZOOM = (0.8, 1.25)
GAIN, OFFSET = 0.15, 0.08
"""Of the brightness: how much larger or smaller, and how much lighter or darker (of 0 to 1)."""
BRIGHTEST = 0.65
"""The mean of a picture that more light makes at most: beyond it much would be white."""
OFF = 0.35
"""How far from a crop's middle, in its sides, the pixel of a defect may lie that it is drawn around."""
OWN = 0.5
"""Of the crops around defects, those of normals with drawn anomalies, where a segmenter asks for them."""
Light = Annotated[float, Bound("1 to 4", lambda value: 1 <= value <= 4)]
"""By what factor the light is more or less at most, beside the little that it always is."""
_AROUND = 1.6
"""Sides of a crop that are cut out, so that nothing is missing in a corner when it is turned and scaled."""


@dataclass(frozen=True)
class Sources:
    """What a segmenter is trained on, by where it is from; `made` pairs are generated ones or pasted."""

    real: tuple[Sample, ...] = ()
    real_normals: tuple[Sample, ...] = ()
    made: tuple[Sample, ...] = ()
    made_normals: tuple[Sample, ...] = ()
    share: float = 0.5
    """Of the crops with a defect, those of made pairs, where there are both."""

    def pairs(self, made: bool) -> tuple[Sample, ...]:
        """Return the pairs of one kind, or of the other where there are none."""
        return (self.made or self.real) if made else (self.real or self.made)

    def normals(self, made: bool) -> tuple[Sample, ...]:
        """Return the normals of one kind, or of the other, or pairs, of which a place is drawn anywhere."""
        first, second = self.made_normals, self.real_normals
        if not made:
            first, second = second, first
        return first or second or self.pairs(made)


@dataclass(frozen=True)
class Batch:
    """Crops [B, 3, S, S] of 0 to 1 and their masks [B, S, S] of 0 and 1."""

    pictures: Tensor
    masks: Tensor
    defective: Tensor
    """[B]: what shows any defect."""
    boxes: Tensor | None
    """[B, S, S]: 1 inside of the masks of weak pairs; None without one."""
    clean: Tensor
    """[B, 3, S, S]: the pictures before anomalies were drawn."""
    hidden: Tensor
    """[B, S, S]: 1 where what is beneath a defect is not known, for nobody drew it here."""

    def to(self, device: str, memory_format: torch.memory_format) -> Batch:
        """Return the batch on a device, its pictures in a layout."""
        return Batch(
            self.pictures.to(device, memory_format=memory_format),
            self.masks.to(device),
            self.defective.to(device),
            None if self.boxes is None else self.boxes.to(device),
            self.clean.to(device, memory_format=memory_format),
            self.hidden.to(device),
        )


def draw_batch(
    random: np.random.Generator,
    pictures: Pictures,
    sources: Sources,
    size: int,
    count: int,
    anomalies: Anomalies | None = None,
    light: float = 1.0,
) -> Batch:
    """Draw `count` crops of `size` pixels: half around defects, a quarter anywhere in pictures with one,
    a quarter of normals. Defects are drawn evenly by their names, then their pairs.

    light: by what factor the light is more or less at most.
    anomalies: of the crops around defects, half become normals that anomalies are drawn into; all without
    pairs, and what would be anywhere in a pair's picture is of a normal.
    """
    windows, marks, weak, drawn = [], [], [], []
    for index in range(count):
        made = random.random() < sources.share
        at_defect, pair = index % 2 == 0, index % 4 != 3
        if anomalies is not None and pair:
            there = bool(sources.pairs(made))
            draws = at_defect and not (there and random.random() < OWN)
            drawn += [index] if draws else []
            at_defect, pair = at_defect and not draws, there and not draws
        sample = evenly(random, sources.pairs(made)) if pair else _normal(random, sources, made)
        image, mask = pictures.read(sample)
        row, column = _centre(random, mask, size, at_defect)
        around = math.ceil(_AROUND * size)
        windows.append(_window(image, row, column, around))
        marks.append(_window(mask, row, column, around))
        weak.append(sample.weak)
    stacked = torch.from_numpy(np.stack(windows)).permute(0, 3, 1, 2).float() / 255
    both = torch.cat([stacked, torch.from_numpy(np.stack(marks)).float()[:, None]], 1)
    crops = moved(random, both, size)
    masks = (crops[:, 3] > 0.5).float()
    shown = lit(random, crops[:, :3], light)
    boxes = masks * torch.tensor(weak).float()[:, None, None] if any(weak) else None
    clean, hidden = shown, masks
    if anomalies is not None and drawn:
        shown, masks = shown.clone(), masks.clone()
        for index in drawn:
            texture = anomalies.texture(random, size, lambda: _anywhere(random, pictures, sources, size))
            shown[index], shape = anomalies.draw(random, shown[index], texture)
            masks[index] = torch.maximum(masks[index], shape)
    return Batch(shown, masks, masks.flatten(1).any(1), boxes, clean, hidden)


def _normal(random: np.random.Generator, sources: Sources, made: bool) -> Sample:
    normals = sources.normals(made)
    return normals[random.integers(len(normals))]


def _anywhere(
    random: np.random.Generator, pictures: Pictures, sources: Sources, size: int
) -> NDArray[np.uint8]:
    """Cut [size, size, 3] from a normal, or from a pair without one."""
    image, mask = pictures.read(_normal(random, sources, False))
    return np.asarray(_window(image, *_centre(random, mask, size, False), size), np.uint8)


def evenly(random: np.random.Generator, pairs: Sequence[Sample]) -> Sample:
    """Draw a defect, then one of its pairs."""
    names = sorted({pair.defect for pair in pairs})
    name = names[random.integers(len(names))]
    same = [pair for pair in pairs if pair.defect == name]
    return same[random.integers(len(same))]


def _centre(
    random: np.random.Generator, mask: NDArray[np.bool_], size: int, at_defect: bool
) -> tuple[int, int]:
    """Draw a crop's middle: around a pixel of the defect, or anywhere."""
    places = np.flatnonzero(mask & at_defect)
    if len(places):
        row, column = divmod(int(places[random.integers(len(places))]), mask.shape[1])
        down, across = random.uniform(-OFF, OFF, 2) * size
    else:
        (row, column), (down, across) = (int(random.integers(side)) for side in mask.shape), (0.0, 0.0)
    return _inner(round(row + down), mask.shape[0], size), _inner(round(column + across), mask.shape[1], size)


def _inner(place: int, side: int, size: int) -> int:
    """Move a crop's middle so that it shows the picture rather than what is mirrored beyond its edge."""
    half = size // 2
    return side // 2 if side <= size else min(max(place, half), side - half)


def _window(pixels: NDArray[np.generic], row: int, column: int, side: int) -> NDArray[np.generic]:
    """Cut [side, side] around a pixel; beyond the edges the picture is mirrored."""
    places: list[NDArray[np.int64]] = []
    for middle, length in ((row, pixels.shape[0]), (column, pixels.shape[1])):
        there = np.abs(np.arange(middle - side // 2, middle - side // 2 + side)) % max(2 * length - 2, 1)
        places.append(np.minimum(there, 2 * length - 2 - there) if length > 1 else there * 0)
    return pixels[np.ix_(*places)]


def moved(
    random: np.random.Generator,
    both: Tensor,
    size: int,
    *,
    zoom: tuple[float, float] = ZOOM,
    quarters: bool = True,
) -> Tensor:
    """Turn, mirror and scale windows [B, C, w, w] into crops [B, C, size, size].

    zoom: by how much more, or less, of a window is seen; quarters: turn by quarters too.
    """
    count, around = both.shape[0], both.shape[-1]
    turns = random.integers(4, size=count) if quarters else np.zeros(count)
    angle = turns * (math.pi / 2) + random.uniform(-TURN, TURN, count)
    scale = np.exp(random.uniform(math.log(zoom[0]), math.log(zoom[1]), count)) * size / around
    flip = np.where(random.random(count) < 0.5, -1.0, 1.0)
    zeros = np.zeros(count)
    rows = [
        [scale * np.cos(angle) * flip, -scale * np.sin(angle), zeros],
        [scale * np.sin(angle) * flip, scale * np.cos(angle), zeros],
    ]
    matrix = torch.from_numpy(np.array(rows).transpose(2, 0, 1)).float()
    grid = functional.affine_grid(matrix, [count, both.shape[1], size, size], align_corners=False)
    return functional.grid_sample(both, grid, padding_mode="reflection", align_corners=False)


def lit(random: np.random.Generator, pictures: Tensor, light: float = 1.0) -> Tensor:
    """Make each picture [B, 3, h, w] of 0 to 1 brighter or darker, and its contrast higher or lower.

    light: by what factor the light is more or less at most. It multiplies, as an exposure does, so that a
        defect stands out more or less too; but by it no picture's mean becomes more than `BRIGHTEST`.
    """
    if light > 1:
        factor = torch.exp(_uniform(random, -math.log(light), math.log(light), len(pictures)))
        most = (BRIGHTEST / pictures.mean((1, 2, 3), keepdim=True).clamp_min(1e-3)).clamp_min(1)
        pictures = pictures * torch.minimum(factor, most)
    gain = _uniform(random, 1 - GAIN, 1 + GAIN, len(pictures))
    offset = _uniform(random, -OFFSET, OFFSET, len(pictures))
    return ((pictures - 0.5) * gain + 0.5 + offset).clamp(0, 1)


def _uniform(random: np.random.Generator, low: float, high: float, count: int) -> Tensor:
    return torch.from_numpy(random.uniform(low, high, (count, 1, 1, 1))).float()
