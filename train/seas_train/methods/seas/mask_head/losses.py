"""The mask head's loss: a focal loss in four terms (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from seas_train.methods.seas.mask_head.config import CoarseTarget, FocalMean

_WHOLE = 1 - 1e-6
"""More than this is 1: the weights of a resize may round."""


def focal_loss(
    logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the mean focal loss of two-class logits (Lin et al. 2017, eq. 5), a scalar.

    Args:
        logits: [B,2,H,W]; channel 1 is the defect.
        target: [B,H,W], 1 on the defect and 0 elsewhere, bool or float.
        gamma: focusing parameter: the larger, the less pixels that are already right count (authors: 2).
        alpha: weight in [0, 1] of the defect's pixels, 1 - alpha of the others; None weighs all alike.
        smoothing: s; the truth's probability p becomes (1 - s) p + s (1 - p) + s, never 0 (authors: 1e-5).
    """
    on_defect = target.to(torch.bool)
    log_probability = functional.log_softmax(logits.float(), dim=1)
    log_of_truth = torch.where(on_defect, log_probability[:, 1], log_probability[:, 0])
    if smoothing:
        of_truth = log_of_truth.exp()
        log_of_truth = (of_truth + 2 * smoothing * (1 - of_truth)).clamp(max=1.0).log()
    loss = -((1.0 - log_of_truth.exp()) ** gamma) * log_of_truth
    if alpha is not None:
        loss = loss * torch.where(on_defect, alpha, 1.0 - alpha)
    return loss.mean()


def mask_at(mask: Tensor, height: int, width: int, target: CoarseTarget = CoarseTarget.POOLED) -> Tensor:
    """Return masks [B,H,W] of 0 and 1 at a lower resolution: by default max-pooled, so that small defects
    survive."""
    if target is CoarseTarget.WHOLE:
        resized = functional.interpolate(mask.float().unsqueeze(1), size=(height, width), mode="bilinear")
        return (resized.squeeze(1) > _WHOLE).float()
    pooled = functional.adaptive_max_pool2d(mask.float().unsqueeze(1), (height, width))
    return pooled.squeeze(1)


class FocalRules(NamedTuple):
    """How `mask_loss` weighs pixels and maps; see `MaskHeadConfig`."""

    gamma: float = 2.0
    alpha: float | None = None
    smoothing: float = 0.0
    mean: FocalMean = FocalMean.HALVES
    coarse_target: CoarseTarget = CoarseTarget.POOLED

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The focal loss of logits against a target."""
        return focal_loss(logits, target, gamma=self.gamma, alpha=self.alpha, smoothing=self.smoothing)


@dataclass(frozen=True)
class MaskLoss:
    """The four terms of the mask head's loss, each a scalar."""

    defect_refined: Tensor
    """Refined map of the defect samples against their masks, at image resolution."""
    defect_coarse: Tensor
    """Coarse map of the defect samples against their masks, at latent resolution."""
    normal_upsampled: Tensor
    """Coarse map of the normals, upsampled, against zero, at image resolution (eq. 7)."""
    normal_coarse: Tensor
    """Coarse map of the normals against zero, at latent resolution."""

    weights: tuple[float, float] = (1.0, 1.0)
    """Of the defects' terms and the normals'."""

    @property
    def total(self) -> Tensor:
        """The weighted sum of the terms, which is minimised."""
        of_defects, of_normals = self.weights
        if self.weights == (1.0, 1.0):  # in this order, which rounding has known
            return self.defect_refined + self.defect_coarse + self.normal_upsampled + self.normal_coarse
        defects = self.defect_refined + self.defect_coarse
        return of_defects * defects + of_normals * (self.normal_upsampled + self.normal_coarse)


def mask_loss(refined: Tensor, coarse: Tensor, mask: Tensor, rules: FocalRules | None = None) -> MaskLoss:
    """Return the loss of a batch: defect samples first, then normals.

    Args:
        refined: the defect samples' logits [D,2,H,W], or all samples' [D+N,2,H,W] where the normals came to
            that size as features; otherwise their coarse logits are upsampled.
        coarse: every sample's logits [D+N,2,h,w], the normals after the defects.
        mask: the defect samples' masks [D,H,W], 0 or 1.
        rules: by default ours.
    """
    rules = rules or FocalRules()
    defects = mask.shape[0]
    of_defects, of_normals = coarse[:defects], coarse[defects:]
    height, width = coarse.shape[2:]
    if len(refined) > defects:
        refined, upsampled = refined[:defects], refined[defects:]
    else:
        upsampled = functional.interpolate(of_normals.float(), size=mask.shape[1:], mode="bilinear")

    def to_zero(logits: Tensor) -> Tensor:
        return rules.loss(logits, torch.zeros_like(logits[:, 0]))

    share = defects / len(coarse)
    return MaskLoss(
        defect_refined=rules.loss(refined, mask),
        defect_coarse=rules.loss(of_defects, mask_at(mask, height, width, rules.coarse_target)),
        normal_upsampled=to_zero(upsampled),
        normal_coarse=to_zero(of_normals),
        weights=(share, 1 - share) if rules.mean is FocalMean.MAPS else (1.0, 1.0),
    )
