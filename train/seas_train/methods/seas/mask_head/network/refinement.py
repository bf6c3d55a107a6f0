"""The mask refinement module: doubles the resolution under the guidance of the VAE decoder's features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from seas_train.methods.seas.mask_head.network.normalization import StoredBatchNorm


class _ConvNormRelu(nn.Sequential):
    """A convolution without bias, its batch norm, and a ReLU; sizes are kept."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False),
            StoredBatchNorm(width),
            nn.ReLU(),
        )


class MaskRefinementModule(nn.Module):
    """One refinement of the mask's features (paper figure 4; layers as in the authors' checkpoints).

    `conv6` takes part in nothing: the authors' checkpoints hold it, so it is kept, frozen, for their keys.
    """

    def __init__(self, vae_channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = _ConvNormRelu(vae_channels, width, 1)
        self.conv2 = _ConvNormRelu(width, width, 1)
        self.conv3 = _ConvNormRelu(width, width, 3)
        self.conv4 = _ConvNormRelu(width, width, 1)
        self.conv5 = _ConvNormRelu(width, width, 1)
        self.conv6 = _ConvNormRelu(width, width, 3).requires_grad_(False)
        self.conv7 = _ConvNormRelu(width, width, 1)
        self.conv8 = _ConvNormRelu(width, width, 3)
        self.conv9 = _ConvNormRelu(width, width, 1)

    def forward(self, x: Tensor, vae_tap: Tensor) -> Tensor:
        """Map features [B,C,h,w] and the VAE's [B,V,2h,2w] to [B,C,2h,2w]."""
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        local = self.conv4(self.conv3(self.conv2(x)))
        discriminative = local + self.conv5(x) + self.conv9(self.conv8(self.conv7(local)))
        result: Tensor = self.conv1(vae_tap) * discriminative + x
        return result
