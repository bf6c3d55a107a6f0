"""Whole pairs in half against float32, by the graphs themselves: errors add up over the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation import noise
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import DECODE_IMAGE, DECODE_MASK, STEP, UNCONDITIONAL

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Runs a graph once."""
PAIRS = 2
PSNR_BOUND, IOU_BOUND = 30.0, 0.95
"""What half must keep of the pictures (dB) and of the masks, over the pairs that are compared."""
_SEED = 0


@dataclass(frozen=True)
class LoopFigures:
    """How far pairs in half lie from those in float32: PSNR in dB (999 where they are the same), IoU."""

    pairs: int
    psnr: float
    iou: float

    def within(self, psnr: float) -> bool:
        """Whether both are within their bounds, the one of the pictures in dB."""
        return self.psnr >= psnr and self.iou >= IOU_BOUND

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Images [B,H,W,3] uint8 and probabilities [B,H,W] float32."""

    images: Array
    probabilities: Array


def make_pairs(bundle: Bundle, graphs: Mapping[str, Run], count: int = PAIRS) -> Pairs:
    """Return pairs of a bundle's first defect by its default schedule, as generation makes them."""
    schedule, manifest = bundle.schedule(), bundle.manifest
    latent, pool = manifest.latent, bundle.references
    shape = (latent.channels, latent.height, latent.width)
    chosen = [noise.reference_index(_SEED, index, 0, len(pool)) for index in range(count)]
    fresh = np.stack([noise.start_noise(_SEED, index, 0, shape) for index in range(count)])
    latents: Array = schedule.start_latents(pool[chosen], fresh)
    constants = {
        "schedule": schedule.table,
        "guidance": np.array([manifest.sampler.guidance]),
        "context": np.repeat(bundle.embeddings[manifest.defects[0]][None], count, axis=0),
        "negative_context": bundle.embeddings[UNCONDITIONAL][None],
        "noise": np.zeros_like(latents),
    }
    inputs = manifest.graphs[STEP].inputs
    x0: Array = np.zeros_like(latents)
    masks = []
    for step in range(schedule.steps):
        arrays = {**constants, "step_index": np.array([step]), "latents": latents, "previous_x0": x0}
        made = graphs[STEP](
            {spec.name: np.ascontiguousarray(arrays[spec.name], dtype=spec.dtype) for spec in inputs}
        )
        if step >= schedule.steps - manifest.sampler.mask_steps:
            taps = {name: made[name] for name in ("tap_coarse", "tap_fine")}
            masks.append(graphs[DECODE_MASK]({"latents": latents, **taps})["probability"])
        latents, x0 = made["next_latents"], made["x0"]
    images = graphs[DECODE_IMAGE]({"latents": latents})["image"]
    return Pairs(images, np.asarray(np.mean(masks, axis=0, dtype=np.float32)))


def compare(made: Pairs, expected: Pairs, tau: float) -> LoopFigures:
    """Return how far pairs lie from what is expected; what is not finite is infinitely far."""
    squares = float(np.square(made.images.astype(np.float64) - expected.images).mean())
    ours, theirs = made.probabilities >= tau, expected.probabilities >= tau
    either = int((ours | theirs).sum())
    broken = not np.isfinite(made.probabilities).all()
    return LoopFigures(
        pairs=len(made.images),
        psnr=round(10 * math.log10(255**2 / squares), 2) if squares else 999.0,
        iou=0.0 if broken else round(int((ours & theirs).sum()) / either, 4) if either else 1.0,
    )
