"""What a step that blends is fed: mask, background and noise, of pairs that are placed and of whole pictures.

x <- m x + (1 - m) (r background + n noise), with r and n of the step's row of the schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import Fields
from seas_runtime.manifest.schedule import Array, FloatArray, Schedule
from seas_runtime.manifest.signatures import FLOAT, Expected
from seas_runtime.manifest.types import ENCODE_IMAGE, LatentGeometry
from seas_runtime.methods.contract import Content
from seas_runtime.methods.gates import BoolArray
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import PairRequest, PlacedInputs

MASK, BACKGROUND, BLEND_NOISE = "mask", "background", "blend_noise"
"""Inputs of a step's graph that blends: 1 where it draws, scaled latents, and what they are noised by."""
BLENDED = "blended"
"""Its output: the latents that it started from, blended."""
BLEND, FIXED, FRESH = "blend", "fixed", "fresh"
"""Key of the manifest's `generation`, and its values: one noise for all steps, or one a step."""


REGIONS = "regions"
"""Key of the manifest's `generation`: whether it was trained on regions of photographs. Bundles of earlier
versions do not say, and were not."""
STRENGTH, LEAST_STRENGTH = "strength", 0.01
"""Key of the manifest's `generation`: the part of the steps that placed pairs are run, 0.01 to 1."""

Cells = Callable[[BoolArray, tuple[int, ...]], FloatArray]
"""From a mask [H, W] to the cells that are drawn, in a latent of a size [h, w]."""


@dataclass(frozen=True, eq=False)
class Blend:
    """What a step that blends is fed for B pairs, as `Inputs` has it; nothing where the graph does not."""

    rows: range
    """Of the request's schedule, those that are run."""
    values: Mapping[str, Array] = field(default_factory=dict)
    steps: Mapping[str, Mapping[int, Array]] = field(default_factory=dict)
    images: Mapping[str, Array] = field(default_factory=dict)
    first_images: Mapping[str, Array] = field(default_factory=dict)
    schedule: Schedule | None = None


def check_blend(fields: Fields) -> None:
    """Refuse, by a UserError, a section `generation` whose blend or strength is none."""
    if fields.has(BLEND):
        fields.choice(BLEND, (FIXED, FRESH))
    if fields.has(STRENGTH):
        fields.number(STRENGTH, LEAST_STRENGTH, 1.0)


def blend_signature(latent: LatentGeometry) -> dict[str, Expected]:
    """Return the inputs that a step that blends has besides."""
    latents = Expected(FLOAT, (None, latent.channels, latent.height, latent.width))
    mask = Expected(FLOAT, (None, 1, latent.height, latent.width))
    return {MASK: mask, BACKGROUND: latents, BLEND_NOISE: latents}


def pair_noises(content: Content, pairs: Sequence[PairRequest], attempt: int) -> list[PairNoise]:
    """Return the noise of each pair's attempt, counted from 0."""
    return [
        PairNoise(pair.request.seed, pair.index, attempt, pair.request.defect, content.manifest.schema)
        for pair in pairs
    ]


def fresh_noise(
    schedule: Schedule, rows: range, noises: Sequence[PairNoise], shape: tuple[int, ...]
) -> dict[int, Array]:
    """Return the noise [B, *shape] that each noisy step of the schedule adds, by its place among `rows`."""
    return {
        step - rows.start: np.stack([noise.normal(Stream.STEP, shape, step) for noise in noises])
        for step in schedule.noisy_steps
        if step in rows
    }


def make_blend(
    content: Content,
    pairs: Sequence[PairRequest],
    noises: Sequence[PairNoise],
    schedule: Schedule,
    strength: float | None,
    cells: Cells | None = None,
) -> Blend:
    """Return what B pairs, placed all or none, are fed.

    `cells` is `latent_mask` by default. At a `strength` (None for the bundle's) below 1 the last
    ceil(strength * N) steps are run, the first of them with a mask of zeros: all of the window starts as the
    background, or as the pairs' own starts, noised as far as that step has it.
    Raises UserError for placed pairs of a bundle that does not blend, and for a strength of whole pictures.
    """
    manifest = content.manifest
    shape = (manifest.latent.channels, manifest.latent.height, manifest.latent.width)
    placed = [pair.placed for pair in pairs if pair.placed is not None]
    rule, rows = manifest.generation.get(BLEND), range(schedule.steps)
    if not placed:
        if strength is not None:
            raise UserError(f"{STRENGTH}: whole pictures have no background to start from; leave it out")
        return Blend(rows) if rule is None else _whole(rule, len(pairs), shape, rows)
    if len(placed) != len(pairs):
        raise ValueError("a batch's pairs are placed all, or none")
    if rule is None or ENCODE_IMAGE not in manifest.graphs:
        raise UserError(
            "this bundle draws into no background: a version of seas-export wrote it that did not; export "
            "the checkpoint again, or make whole pictures"
        )
    image = manifest.image
    if image.height % shape[1] or image.width % shape[2]:
        raise UserError(
            f"manifest.json: expected an image whose sides are multiples of the latent's, {list(shape[1:])}, "
            f"found {[image.height, image.width]}; export the bundle again"
        )
    part = manifest.generation.get(STRENGTH, 1.0) if strength is None else strength
    return _placed(rule, placed, noises, shape, schedule, part, cells or latent_mask)


def _whole(rule: str, count: int, shape: tuple[int, ...], rows: range) -> Blend:
    """Masks of ones."""
    zeros = np.zeros((count, *shape), np.float32)
    values = {MASK: np.ones((count, 1, *shape[1:]), np.float32), BACKGROUND: zeros}
    if rule == FRESH:
        return Blend(rows, values, {BLEND_NOISE: {}})
    return Blend(rows, {**values, BLEND_NOISE: zeros})


def _placed(
    rule: str,
    placed: Sequence[PlacedInputs],
    noises: Sequence[PairNoise],
    shape: tuple[int, ...],
    schedule: Schedule,
    strength: float,
    cells: Cells,
) -> Blend:
    def drawn(step: int) -> FloatArray:
        return np.stack([noise.normal(Stream.BLEND, shape, step) for noise in noises])

    masks = np.stack([cells(item.mask, shape[1:]) for item in placed])[:, None]  # [B, 1, h, w]
    rows = range(schedule.steps)[-steps_left(schedule.steps, strength) :]
    values: dict[str, Array] = {}
    steps: dict[str, Mapping[int, Array]] = {}
    if strength < 1:
        steps[MASK] = {step: masks for step in range(1, len(rows))}  # zeros in the first
    else:
        values[MASK] = masks
    if rule == FRESH:
        steps[BLEND_NOISE] = {step: drawn(row) for step, row in enumerate(rows)}
    else:
        values[BLEND_NOISE] = drawn(0)
    images = {BACKGROUND: np.stack([item.window for item in placed])}
    if strength == 1:
        return Blend(rows, values, steps, images)
    first = {}
    if any(item.start is not None for item in placed):
        starts = [item.window if item.start is None else item.start for item in placed]
        first[BACKGROUND] = np.stack(starts)
    return Blend(rows, values, steps, images, first, schedule.last(len(rows)))


def latent_mask(mask: BoolArray, size: tuple[int, ...]) -> FloatArray:
    """Return a mask [H, W] in a latent of `size` [h, w]: 1 in the cells that it touches.

    Not in those around: what is drawn there would lie in the feather by which it is pasted.
    """
    return np.asarray(_covered_pixels(mask, size) > 0, np.float32)


def covered_mask(mask: BoolArray, size: tuple[int, ...]) -> FloatArray:
    """Return a mask [H, W] in a latent of `size` [h, w]: 1 in the cells of which it covers at least half as
    many pixels as of the cell around, 3 x 3, of which it covers most.

    What is drawn so is as large as the mask; `latent_mask` is larger by half a cell all around. Of a mask
    that is thinner than a cell nothing is lost.
    """
    pixels = _covered_pixels(mask, size)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(pixels, 1), (3, 3)).max(axis=(2, 3))
    return np.asarray((pixels > 0) & (2 * pixels >= around), np.float32)


def _covered_pixels(mask: BoolArray, size: tuple[int, ...]) -> Array:
    """Return how many pixels of each cell of a latent of `size` [h, w], which divides it, a mask covers."""
    height, width = size
    cells = mask.reshape(height, mask.shape[0] // height, width, mask.shape[1] // width)
    return np.asarray(cells.sum(axis=(1, 3)))


def steps_left(steps: int, strength: float) -> int:
    """Return ceil(strength * steps), at least 1."""
    return max(1, math.ceil(strength * steps - 1e-9))  # 0.28 * 25 is 7.000000000000001
