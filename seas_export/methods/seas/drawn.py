"""The blend of the PyTorch loop: pairs drawn into windows, by diffusers' own forward process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import PlacedInputs
from seas_train import Checkpoint


class Drawn:
    """What B pairs are drawn into.

    Args:
        checkpoint: whose VAE encodes the windows.
        placed: windows and masks, one a pair.
        noises: of the pairs.
        fresh: whether the windows are noised anew in each step.
        whole: the step that starts from the noised windows alone; None where the pairs start from noise.
        covered: whether cells that a mask only touches are left out; see `covered_cells`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        placed: Sequence[PlacedInputs],
        noises: Sequence[PairNoise],
        fresh: bool,
        whole: int | None,
        covered: bool = False,
    ) -> None:
        geometry, vae = checkpoint.geometry, checkpoint.vae
        parameter = next(iter(vae.parameters()))
        windows = torch.from_numpy(np.stack([item.window for item in placed]))
        pixels = (windows.permute(0, 3, 1, 2).float() / 127.5 - 1).to(parameter.device, parameter.dtype)
        self._background = vae.encode(pixels).latent_dist.mode().float() * vae.config.scaling_factor
        masks = torch.from_numpy(np.stack([item.mask for item in placed]))[:, None].float()
        factor = geometry.image_size // geometry.latent_size
        inside = covered_cells(masks, factor) if covered else functional.max_pool2d(masks, factor) > 0
        self._inside = inside.to(parameter.device)  # [B,1,h,w]
        self._noises, self._fresh, self._whole = noises, fresh, whole
        self._process = checkpoint.scheduler

    def noised(self, timesteps: Tensor, step: int) -> Tensor:
        """Return the background noised as far as a step's latents are."""
        shape, row = tuple(self._background.shape[1:]), step if self._fresh else 0
        drawn = np.stack([noise.normal(Stream.BLEND, shape, row) for noise in self._noises])
        fresh = torch.from_numpy(drawn).to(self._background.device)
        made: Tensor = self._process.add_noise(self._background, fresh, timesteps[step])
        return made

    def before(self, timesteps: Tensor, step: int, latents: Tensor) -> Tensor:
        """Return what a step starts from: its latents inside, the noised background outside."""
        outside = self.noised(timesteps, step)
        return outside if step == self._whole else torch.where(self._inside, latents, outside)


def covered_cells(masks: Tensor, factor: int) -> Tensor:
    """Return the cells [B, 1, h, w], `factor` pixels a side, that masks [B, 1, H, W] cover by at least half
    as much as that one of the 3 x 3 around which they cover most."""
    pixels = functional.avg_pool2d(masks, factor, divisor_override=1)
    inside: Tensor = (pixels > 0) & (2 * pixels >= functional.max_pool2d(pixels, 3, stride=1, padding=1))
    return inside
