"""The mask head as it is trained: both of its outputs at once."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

from seas_train.methods.seas.mask_head.network.head import MaskHead


class NormalPath(str, Enum):
    """How the normals' features come to image resolution, past the refinement (equation 7)."""

    LOGITS = "logits"
    """Through the output layer, and its logits upsampled; its norm sees the defects' features alone."""
    FEATURES = "features"
    """Upsampled, joined with the defects' refined ones, and through the output layer together, as in the
    authors' code."""


class BothPaths(nn.Module):
    """The head as it is trained: refined logits of the defect samples, coarse logits of all.

    `normals` and `coarse_statistics` are the configuration's; by default the output layer's stored statistics
    are those of refined features alone, as generation has them.
    """

    def __init__(
        self, head: MaskHead, normals: NormalPath = NormalPath.LOGITS, coarse_statistics: bool = False
    ) -> None:
        super().__init__()
        self.head = head
        self._normals, self._coarse_statistics = normals, coarse_statistics

    def forward(self, coarse: Tensor, fine: Tensor, vae_taps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits [D,2,8h,8w] and [B,2,h,w]; the first are of all samples where the normals' features
        are joined.

        Args:
            coarse: U-Net features [B,C,h/2,w/2], the D defect samples before the normals.
            fine: U-Net features [B,F,h,w].
            vae_taps: VAE features of the D defect samples, at 2, 4 and 8 times h x w.
        """
        features = self.head.features(coarse, fine)
        defects = vae_taps[0].shape[0]
        refined = self.head.refine(features[:defects], vae_taps)
        if self._normals is NormalPath.FEATURES:
            size = refined.shape[2:]
            of_normals = functional.interpolate(features[defects:], size=size, mode="bilinear")
            refined = torch.cat([refined, of_normals.to(refined.dtype)])
        logits = self.head.logits(refined)
        if self._coarse_statistics:
            return logits, self.head.logits(features)
        return logits, self.head.coarse_logits(features)
