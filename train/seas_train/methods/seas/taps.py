"""The channels of the features that the mask head reads, and which bases have such features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seas_runtime.errors import UserError
from seas_train.diffusion.taps import tap_indices


@dataclass(frozen=True)
class TapGeometry:
    """Channels of the outputs of the U-Net's and the VAE decoder's up-blocks."""

    coarse: int
    """Of the U-Net at half the latent's resolution."""
    fine: int
    """Of the U-Net at the latent's resolution."""
    vae: tuple[int, int, int]
    """Of the VAE decoder's first three up-blocks, at 2, 4 and 8 times the latent's resolution."""

    @classmethod
    def of(cls, unet: Any, vae: Any, what: str = "base") -> TapGeometry:
        """Read the channels off the models, which `what` names in messages.

        Raises:
            UserError: the U-Net lacks an up-block at one of the two resolutions, or the VAE's decoder has not
                three doubling up-blocks.
        """
        doubling = [block.upsamplers is not None for block in vae.decoder.up_blocks]
        if doubling[:3] != [True, True, True]:
            found = sum(doubling)
            raise UserError(
                f"{what}: expected a VAE whose decoder doubles the size three times, found {found} times"
            )
        coarse, fine = (int(unet.up_blocks[i].resnets[-1].out_channels) for i in tap_indices(unet))
        first, second, third = (int(block.resnets[-1].out_channels) for block in vae.decoder.up_blocks[:3])
        return cls(coarse, fine, (first, second, third))
