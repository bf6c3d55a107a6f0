"""The mask head's loss: a focal loss in four terms (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float | None = None) -> Tensor:
    """Return the mean focal loss of two-class logits (Lin et al. 2017, eq. 5), a scalar.

    Args:
        logits: [B,2,H,W]; channel 1 is the defect.
        target: [B,H,W], 1 on the defect and 0 elsewhere, bool or float.
        gamma: focusing parameter: the larger, the less pixels that are already right count (authors: 2).
        alpha: weight in [0, 1] of the defect's pixels, 1 - alpha of the others; None weighs all alike.
    """
    on_defect = target.to(torch.bool)
    log_probability = functional.log_softmax(logits.float(), dim=1)
    log_of_truth = torch.where(on_defect, log_probability[:, 1], log_probability[:, 0])
    loss = -((1.0 - log_of_truth.exp()) ** gamma) * log_of_truth
    if alpha is not None:
        loss = loss * torch.where(on_defect, alpha, 1.0 - alpha)
    return loss.mean()


def mask_at(mask: Tensor, height: int, width: int) -> Tensor:
    """Return masks [B,H,W] of 0 and 1 at a lower resolution, max-pooled so that small defects survive."""
    pooled = functional.adaptive_max_pool2d(mask.float().unsqueeze(1), (height, width))
    return pooled.squeeze(1)


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

    @property
    def total(self) -> Tensor:
        """The sum of the terms, which is minimised."""
        return self.defect_refined + self.defect_coarse + self.normal_upsampled + self.normal_coarse


def mask_loss(
    refined: Tensor, coarse: Tensor, mask: Tensor, *, gamma: float = 2.0, alpha: float | None = None
) -> MaskLoss:
    """Return the loss of a batch: defect samples first, then normals.

    Args:
        refined: the defect samples' logits [D,2,H,W].
        coarse: every sample's logits [D+N,2,h,w], the normals after the defects.
        mask: the defect samples' masks [D,H,W], 0 or 1.
        gamma: see `focal_loss`.
        alpha: see `focal_loss`.
    """
    defects = mask.shape[0]
    of_defects, of_normals = coarse[:defects], coarse[defects:]
    height, width = coarse.shape[2:]
    upsampled = functional.interpolate(of_normals.float(), size=mask.shape[1:], mode="bilinear")

    def to_zero(logits: Tensor) -> Tensor:
        return focal_loss(logits, torch.zeros_like(logits[:, 0]), gamma=gamma, alpha=alpha)

    return MaskLoss(
        defect_refined=focal_loss(refined, mask, gamma=gamma, alpha=alpha),
        defect_coarse=focal_loss(of_defects, mask_at(mask, height, width), gamma=gamma, alpha=alpha),
        normal_upsampled=to_zero(upsampled),
        normal_coarse=to_zero(of_normals),
    )
