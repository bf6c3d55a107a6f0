"""Scores of the mask head on held-out pairs, noised as generation's last steps see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seas_runtime.errors import UserError
from seas_runtime.figures import iou
from seas_runtime.manifest.types import GOOD
from seas_runtime.placement.morphology import without_specks
from seas_train.data import Product
from seas_train.data.regions import View
from seas_train.diffusion.prompt_encoding import encode_prompts
from seas_train.methods.seas.mask_head.latents import Models, Reading, generation_features, mask_timesteps
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.training.precision import native_autocast
from seas_train.training.random import step_random


@dataclass(frozen=True)
class DefectScore:
    """Counts over the pixels of all of a defect's held-out pairs."""

    defect: str
    pairs: int
    true: int
    predicted: int
    intersection: int
    pixels: int = 0
    """Of all its pictures."""

    @property
    def area(self) -> float:
        """The defect's share of the pictures or regions, 0..1: the IoU of a mask that marks everything."""
        return self.true / max(1, self.pixels)

    @property
    def iou(self) -> float:
        """Intersection over union, pooled over pixels; 0..1."""
        return iou(self.intersection, self.true + self.predicted - self.intersection, empty=0.0)

    @property
    def precision(self) -> float:
        """Share of the predicted pixels that are on the defect."""
        return self.intersection / max(1, self.predicted)

    @property
    def recall(self) -> float:
        """Share of the defect's pixels that are predicted."""
        return self.intersection / max(1, self.true)


@dataclass(frozen=True)
class MaskScores:
    """Scores of `evaluate_masks`."""

    tau: float
    """Threshold on the mean probability."""
    timesteps: tuple[int, ...]
    """Where masks were read."""
    defects: tuple[DefectScore, ...]
    normals: int
    """Held-out normal images that were tried, with the normal prompt."""
    empty_normals: int
    """Of these, images whose mask was empty."""
    regions: bool = False
    """Whether on a region of each image, not on all of it."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        scores = {
            score.defect: {
                "pairs": score.pairs,
                "iou": round(score.iou, 4),
                "precision": round(score.precision, 4),
                "recall": round(score.recall, 4),
                "area": round(score.area, 4),
            }
            for score in self.defects
        }
        normals = {"images": self.normals, "empty_masks": self.empty_normals}
        said = {"regions": True} if self.regions else {}
        return {
            "tau": self.tau, "timesteps": list(self.timesteps), **said, "defects": scores, "normals": normals
        }  # fmt: skip

    def to_text(self) -> str:
        """Return a table for the terminal."""
        width = max(6, *(len(score.defect) for score in self.defects), 0)
        lines = [f"{'defect':{width}}  pairs    IoU  precision  recall"]
        lines += [
            f"{s.defect:{width}}  {s.pairs:5}  {s.iou:.3f}  {s.precision:9.3f}  {s.recall:6.3f}"
            for s in self.defects
        ]
        if self.normals:
            what = "regions of normals" if self.regions else "normal images"
            lines.append(f"{what} with an empty mask: {self.empty_normals} of {self.normals}")
        return "\n".join(lines)


@torch.no_grad()
def mask_probability(
    models: Models,
    head: MaskHead,
    latents: Tensor,
    noise: Tensor,
    context: Tensor,
    reading: Reading,
) -> Tensor:
    """Return the defect's probability [B,H,W], the mean over the timesteps.

    The noise is the same at each timestep, as along a deterministic sampler's path.

    Args:
        models: frozen, in eval mode, on the latents' device.
        head: on that device; its stored statistics are used.
        latents: [B,C,h,w], scaled.
        noise: [B,C,h,w], standard normal.
        context: [B,L,D], the conditional half's.
        reading: where generation reads masks.
    """
    maps = []
    for timestep in reading.timesteps:
        at = torch.full((latents.shape[0],), timestep, device=latents.device)
        sample = models.scheduler.add_noise(latents, noise, at)
        features = generation_features(models, head, sample, timestep, context, reading.of_x0)
        maps.append(head.predict(features.coarse, features.fine, features.vae))
    return torch.stack(maps).mean(dim=0)


def evaluate_masks(
    models: Models,
    head: MaskHead,
    prompts: Mapping[str, str],
    product: Product,
    *,
    tau: float = 0.2,
    speck: int = 0,
    seed: int = 0,
    limit: int | None = None,
    normals: int | None = None,
    batch: int = 4,
    half_precision: bool = False,
    reading: Reading | None = None,
) -> MaskScores:
    """Score the head on the pairs and normals that the product keeps for testing, or on a region of each.

    Args:
        models: a fine-tuned base or a checkpoint, frozen, in eval mode, on the head's device.
        head: the head.
        prompts: the prompt of "good" and of each defect.
        product: as it was split for training.
        tau: threshold on the mean probability.
        speck: connected parts of a mask of fewer pixels are dropped.
        seed: what the noise follows from, together with the defect and the pair's number, and where regions
            lie, if the product has them.
        limit: pairs of each defect; None for all.
        normals: normal images; None for all.
        batch: images at once; changes nothing but the time.
        half_precision: run the models in bfloat16 on a CPU that computes it natively.
        reading: where generation reads masks; None for where it does by default.

    A defect without a held-out pair is left out.

    Raises:
        UserError: a defect has no prompt.
    """
    reading = reading or Reading(tuple(mask_timesteps(models.scheduler)))
    scores = []
    for defect in product.defects:
        pairs = defect.test[:limit]
        if not pairs:
            continue
        views = [product.judged_pair(pair, seed) for pair in pairs]
        masks = [product.mask(pair, view.region) for pair, view in zip(pairs, views, strict=True)]
        predicted = predict_masks(
            models, head, _prompt(prompts, defect.name), product, views,
            defect.name, reading, tau, speck, seed, batch, half_precision,
        )  # fmt: skip
        scores.append(
            DefectScore(
                defect=defect.name,
                pairs=len(pairs),
                true=sum(int(mask.sum()) for mask in masks),
                predicted=sum(int(mask.sum()) for mask in predicted),
                intersection=sum(int((a & b).sum()) for a, b in zip(masks, predicted, strict=True)),
                pixels=sum(mask.size for mask in masks),
            )
        )
    views = [product.judged_normal(path, seed) for path in product.test_normals[:normals]]
    of_normals = predict_masks(
        models, head, _prompt(prompts, GOOD), product, views,
        GOOD, reading, tau, speck, seed, batch, half_precision,
    )  # fmt: skip
    return MaskScores(
        tau=tau,
        timesteps=reading.timesteps,
        defects=tuple(scores),
        normals=len(of_normals),
        empty_normals=sum(not mask.any() for mask in of_normals),
        regions=product.regions is not None,
    )


def _prompt(prompts: Mapping[str, str], name: str) -> str:
    if name not in prompts:
        raise UserError(f"prompts: expected one for {name!r}, found only {', '.join(prompts)}")
    return prompts[name]


def predict_masks(
    models: Models,
    head: MaskHead,
    prompt: str,
    product: Product,
    views: Sequence[View],
    name: str,
    reading: Reading,
    tau: float,
    speck: int,
    seed: int = 0,
    batch: int = 4,
    half_precision: bool = False,
) -> list[NDArray[np.bool_]]:
    """Return the head's mask [H,W] of each view under a prompt.

    name: of the defect, which the noise follows from; the other arguments are those of `evaluate_masks`.
    """
    device = next(head.parameters()).device
    length = min(models.tokenizer.model_max_length, models.text_encoder.config.max_position_embeddings)
    context = encode_prompts(models.tokenizer, models.text_encoder, [prompt], length)
    masks: list[NDArray[np.bool_]] = []
    for start in range(0, len(views), batch):
        some = views[start : start + batch]
        pixels = np.stack([product.image(view.image, view.region) for view in some])
        generators = [step_random(seed, f"evaluate/{name}", start + i).torch for i in range(len(some))]
        with native_autocast(device, half_precision):
            latents = encode(models, torch.from_numpy(pixels).to(device)).float()
            noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators]).to(device)
            probability = mask_probability(
                models, head, latents, noise, context.expand(len(some), -1, -1), reading
            )
        masks += [without_specks(mask, speck) for mask in (probability >= tau).cpu().numpy()]
    return masks


@torch.no_grad()
def encode(models: Models, images: Tensor) -> Tensor:
    """Return scaled latents [B,C,h,w], the posteriors' means, of images [B,H,W,3] uint8."""
    pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    latents: Tensor = models.vae.encode(pixels).latent_dist.mean * models.vae.config.scaling_factor
    return latents
