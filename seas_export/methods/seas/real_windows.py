"""What a checkpoint's real windows say of placed pairs: features to score them by, bounds for their gates.

Windows are what the model saw in training, of each defect with its masks and of normals. Everything here is
computed once, at export, in float32 by PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seas_export.graphs.schedules import DPMPP_2M, make_schedule
from seas_runtime.manifest.schedule import BLEND_COLUMNS, COLUMNS, Array, FloatArray
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.blending.inputs import REGIONS
from seas_runtime.methods.placed.bounds import GATES, LEVELS
from seas_runtime.methods.placed.gates import box_mean, seam
from seas_runtime.methods.placed.normals import BRIGHTNESS, HEIGHT, MODES, WIDTH
from seas_runtime.methods.placed.normals import NORMALS as FIGURES
from seas_runtime.methods.placed.score import features, normals_key
from seas_runtime.placement.morphology import grow
from seas_runtime.placement.paste import feather
from seas_train import Checkpoint
from seas_train.diffusion.solver import SolverRules
from seas_train.diffusion.taps import decode_image, to_uint8, unet_with_taps

STEPS = 25
"""Features are taken at the noise of this schedule's last step: that of a bundle's defaults."""
NORMALS = 8
"""Normal windows that are looked at: each is a pass through the VAE, and one a defect through the U-Net."""
NORMAL_ROWS = 64
"""Features of normals that are kept for a defect: windows under its masks, which are mirrored for more."""
CONTRAST, LEAST_CHANGE = 0.25, 2.0
"""Something is drawn where more changes than this part of what real defects differ from their surroundings,
and than so many grey levels."""
SEAM, LEAST_SEAM = 1.5, 8.0
"""A seam is a step over this many times that of real windows, and over so many grey levels."""
_SEED = 0

T = TypeVar("T")
BoolArray = NDArray[np.bool_]
UInt8Array = NDArray[np.uint8]


def feature_table(
    checkpoint: Checkpoint, context: Callable[[str], Tensor] | None = None
) -> dict[str, FloatArray]:
    """Return features [n, F] of each defect's windows, and of normals under its masks.

    As the U-Net sees them with the defect's own prompt in the last step, each with a noise of its own that is
    always the same. Empty for a checkpoint without windows. `context` gives a defect's, [1, L, D], where that
    is not its prompt's.
    """
    made: dict[str, FloatArray] = {}
    windows = _windows(checkpoint)
    if not windows:
        return made
    with torch.inference_mode():
        normals = [_encode(checkpoint, image) for image in _normals(checkpoint)]
        for defect, (images, masks) in windows.items():
            given = checkpoint.context(checkpoint.prompts[defect]) if context is None else context(defect)
            reader = _TapReader(checkpoint, given)
            made[defect] = np.stack(
                [
                    features(reader.read(_encode(checkpoint, image)), mask)
                    for image, mask in zip(images, masks, strict=True)
                ]
            )
            variants = [turned for mask in masks for turned in _mirrored(mask)]
            each = max(1, NORMAL_ROWS // len(normals))
            rows = []
            for place, latents in enumerate(normals):
                tap = reader.read(latents)
                rows += [features(tap, mask) for mask in _spread(variants, each, place)]
            made[normals_key(defect)] = np.stack(rows)
    return made


def measured_gates(checkpoint: Checkpoint) -> dict[str, dict[str, float]]:
    """Return the bounds of `PlacedBounds` that real windows tell, by defect; see `docs/how-it-works.md`.

    Empty for a checkpoint without windows.
    """
    windows = _windows(checkpoint)
    if not windows:
        return {}
    cell, size = checkpoint.geometry.latent_factor, checkpoint.geometry.image_size
    with torch.inference_mode():
        normals = [(image, _round_trip(checkpoint, image)) for image in _normals(checkpoint)]
    made = {}
    for defect, (images, masks) in windows.items():
        around = [feather(mask, size, cell) for mask in masks]
        steps = [
            seam(image, again, weights, np.zeros(image.shape[:2], np.bool_), cell)
            for image, again in normals
            for weights in around
        ]
        contrasts = [contrast(image, mask, cell) for image, mask in zip(images, masks, strict=True)]
        found = [value for value in contrasts if value is not None]
        usual = float(np.median(found)) if found else 0.0
        made[defect] = {
            "change": _level(max(LEAST_CHANGE, CONTRAST * usual)),
            "seam": _level(max(LEAST_SEAM, SEAM * float(np.quantile(steps, 0.95)))),
        }
    return made


def placed_generation(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what a manifest's section `generation` says of placed pairs, whatever the method: whether
    training saw regions, what normals are like, and the gates' bounds; nothing that is not known."""
    made: dict[str, Any] = {}
    if checkpoint.placement is not None:
        made[REGIONS] = checkpoint.placement.regions
        if known := checkpoint.placement.description.get("normals"):
            ranges = {key: [known[key][0], known[key][-1]] for key in (WIDTH, HEIGHT, BRIGHTNESS)}
            made[FIGURES] = {**ranges, MODES: sorted(mode for mode in known[MODES] if mode != "other")}
    if gates := measured_gates(checkpoint):
        made[GATES] = gates
    return made


def contrast(window: UInt8Array, mask: BoolArray, cell: int) -> float | None:
    """Return by how many grey levels a defect differs from the mean of what lies around it.

    In patches of half a latent cell, as the gate compares them; around it is from one cell to three away.
    None where nothing does.
    """
    ring = grow(mask, 3 * cell) & ~grow(mask, cell)
    if not ring.any():
        return None
    patches = box_mean(window.astype(np.float32), cell // 4)
    return float(np.abs(patches[mask] - patches[ring].mean(axis=0)).mean())


def _level(value: float) -> float:
    return round(min(value, LEVELS), 2)


def _windows(checkpoint: Checkpoint) -> Mapping[str, tuple[UInt8Array, list[BoolArray]]]:
    """Return each defect's windows [n, S, S, 3] whose masks mark anything, and these masks [S, S]."""
    placement = checkpoint.placement
    if placement is None or not len(placement.images[GOOD]):
        return {}
    made = {}
    for defect in checkpoint.defects:
        masks = placement.masks[defect] > 0
        marked = masks.any(axis=(1, 2))
        if marked.any():
            made[defect] = placement.images[defect][marked], list(masks[marked])
    return made


def _normals(checkpoint: Checkpoint) -> list[UInt8Array]:
    """Return some of the normal windows, evenly spread."""
    assert checkpoint.placement is not None
    return _spread(list(checkpoint.placement.images[GOOD]), NORMALS, 0)


def _encode(checkpoint: Checkpoint, image: UInt8Array) -> Tensor:
    """Return the scaled latents [1, C, h, w] of a picture [S, S, 3], the posterior's mean."""
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    mean: Tensor = checkpoint.vae.encode(pixels).latent_dist.mean
    return mean * checkpoint.geometry.scaling_factor


def _round_trip(checkpoint: Checkpoint, image: UInt8Array) -> UInt8Array:
    """Return what is left of a picture that is encoded and decoded."""
    again: UInt8Array = to_uint8(decode_image(checkpoint.vae, _encode(checkpoint, image)))[0].numpy()
    return again


class _TapReader:
    """Reads the coarse tap of latents in the last step, with a defect's context [1, L, D]."""

    def __init__(self, checkpoint: Checkpoint, context: Tensor) -> None:
        generation = checkpoint.meta["generation"]
        rules, sampler = SolverRules.of(generation), generation.get("sampler", DPMPP_2M)
        steps = generation.get("steps", STEPS)
        config = checkpoint.scheduler.config
        table = make_schedule(sampler, config, steps, rules=rules, blend=True).table
        self._unet = checkpoint.unet
        self._context = context
        last = dict(zip(COLUMNS + BLEND_COLUMNS, table[-1].tolist(), strict=True))
        self._timestep = torch.tensor([last["timestep"]])
        self._signal, self._spread = last["r"], last["n"]
        self._noise = np.random.Generator(np.random.Philox(_SEED))

    def read(self, latents: Tensor) -> Array:
        """Return the tap [C, h, w] of scaled latents [1, 4, h, w], noised afresh."""
        noise = torch.from_numpy(self._noise.standard_normal(latents.shape, dtype=np.float32))
        noised = self._signal * latents + self._spread * noise
        _, coarse, _ = unet_with_taps(self._unet, noised, self._timestep, self._context)
        tap: Array = coarse[0].numpy()
        return tap


def _mirrored(mask: BoolArray) -> list[BoolArray]:
    """Return a mask and its mirror images."""
    return [mask, mask[:, ::-1], mask[::-1], mask[::-1, ::-1]]


def _spread(items: Sequence[T], count: int, first: int) -> list[T]:
    """Return `count` of the items, or all of fewer, evenly spread, from the one of index `first` on."""
    count = min(count, len(items))
    return [items[(first + index * len(items) // count) % len(items)] for index in range(count)]
