"""The mask head: coarse features from the U-Net, refined three times under the VAE decoder's features.

Its keys and shapes are the authors' own, so that their state dict loads as it is (SD 1.4: 6.45 M parameters).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from seas_runtime.errors import UserError
from seas_runtime.files import MARGIN, read_json, write_json
from seas_runtime.units import mib
from seas_train.diffusion.taps import decode_taps
from seas_train.foreign_files import TEXT_LIMIT, WEIGHTS_LIMIT, check_file
from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.methods.seas.mask_head.network.normalization import StoredBatchNorm, momentum_of
from seas_train.methods.seas.mask_head.network.refinement import MaskRefinementModule
from seas_train.methods.seas.mask_head.network.small_decoder import SmallDecoder
from seas_train.methods.seas.mask_head.network.transformer import TransformerStage

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class MaskHead(nn.Module):
    """Predicts the defect's mask (paper section 3.3)."""

    def __init__(self, architecture: MaskHeadArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        width, vae = architecture.width, architecture.vae_tap_channels
        self.low_feature_conv = nn.Sequential(
            nn.Conv2d(architecture.tap_coarse_channels, architecture.coarse_width, 1, bias=False)
        )
        self.mid_feature_conv = nn.Sequential(
            nn.Conv2d(architecture.tap_fine_channels, architecture.fine_width, 1, bias=False)
        )
        self.mid_attn_block = TransformerStage(
            width, architecture.heads, architecture.groups, architecture.depth
        )
        self.MRM1 = MaskRefinementModule(vae[0], width)
        self.MRM2 = MaskRefinementModule(vae[1], width)
        self.MRM3 = MaskRefinementModule(vae[2], width)
        self.out_layer = nn.Sequential(StoredBatchNorm(width), nn.ReLU(), nn.Conv2d(width, 2, 3, padding=1))
        self.decoder: SmallDecoder | None = None
        if architecture.latent_channels is not None:
            self.decoder = SmallDecoder(architecture.latent_channels, vae).requires_grad_(False)

    def decode(self, vae: Any, latents: Tensor) -> list[Tensor]:
        """Return the features at 2, 4 and 8 times the size of unscaled latents [B,C,h,w] that the head reads:
        the VAE decoder's, or those of its own small one."""
        if self.decoder is None:
            return decode_taps(vae, latents)
        made: list[Tensor] = self.decoder(latents)
        return made

    def features(self, tap_coarse: Tensor, tap_fine: Tensor) -> Tensor:
        """Return the coarse features [B,width,h,w] of the taps [B,C,h/2,w/2] and [B,F,h,w] (paper eq. 5)."""
        # A 1x1 convolution without bias commutes with the resize, and is cheaper before it.
        low = functional.interpolate(
            self.low_feature_conv(tap_coarse), size=tap_fine.shape[2:], mode="bilinear", align_corners=False
        )
        result: Tensor = self.mid_attn_block(torch.cat([low, self.mid_feature_conv(tap_fine)], dim=1))
        return result

    def refine(self, features: Tensor, vae_taps: Sequence[Tensor]) -> Tensor:
        """Return features [B,width,8h,8w] of [B,width,h,w] and VAE taps at 2, 4 and 8 times h x w (eq. 6)."""
        for module, tap in zip((self.MRM1, self.MRM2, self.MRM3), vae_taps, strict=True):
            features = module(features, tap)
        return features

    def logits(self, refined: Tensor) -> Tensor:
        """Return the two classes' logits [B,2,8h,8w] of refined features; channel 1 is the defect."""
        result: Tensor = self.out_layer(refined)
        return result

    def coarse_logits(self, features: Tensor) -> Tensor:
        """Return the two classes' logits [B,2,h,w] of the coarse features, which the training alone needs.

        The output layer is shared with the refined path, whose features are spread differently: the layer's
        stored statistics are the refined path's alone, as inference uses no other.
        """
        with momentum_of(self.out_layer, 0.0):
            result: Tensor = self.out_layer(features)
        return result

    def forward(self, tap_coarse: Tensor, tap_fine: Tensor, vae_taps: Sequence[Tensor]) -> Tensor:
        """Return the defect's probability in each pixel, [B,8h,8w] in [0, 1].

        Args:
            tap_coarse: U-Net features [B,C,h/2,w/2], of the conditional half.
            tap_fine: U-Net features [B,F,h,w], of the conditional half.
            vae_taps: outputs [B,V,2h,2w], [B,V,4h,4w], [B,V,8h,8w] of the VAE decoder's up-blocks 0 to 2.
        """
        logits = self.logits(self.refine(self.features(tap_coarse, tap_fine), vae_taps))
        return torch.softmax(logits.float(), dim=1)[:, 1]

    def predict(self, tap_coarse: Tensor, tap_fine: Tensor, vae_taps: Sequence[Tensor]) -> Tensor:
        """Run `forward` by the stored statistics and without gradients, whatever mode the head is in."""
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                result: Tensor = self(tap_coarse, tap_fine, vae_taps)
        finally:
            self.train(training)
        return result


def save_mask_head(head: MaskHead, folder: Path) -> None:
    """Write the head's config.json and model.safetensors (float32) into `folder`, making it if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().float().cpu().contiguous() for name, tensor in head.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    write_json(folder / CONFIG_FILE, head.architecture.to_dict())


def load_mask_head(folder: Path) -> MaskHead:
    """Read what `save_mask_head` wrote; the head is in eval mode, float32, on the CPU.

    Raises:
        UserError: a file is missing or broken, or its tensors are not those that config.json calls for.
    """
    check_file(folder / CONFIG_FILE, "the mask head's configuration", TEXT_LIMIT)
    architecture = MaskHeadArchitecture.from_dict(read_json(folder / CONFIG_FILE, "mask head"))
    path = folder / WEIGHTS_FILE
    check_file(path, "the mask head's weights as safetensors", WEIGHTS_LIMIT)
    with torch.device("meta"):
        needed = sum(4 * tensor.numel() for tensor in MaskHead(architecture).state_dict().values())
    size = path.stat().st_size
    if abs(needed - size) > MARGIN:  # before any memory is taken for them
        raise UserError(
            f"{path}: expected about {mib(needed)} of tensors, as {CONFIG_FILE} calls for, found {mib(size)}"
        )
    head = MaskHead(architecture)
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: expected the mask head's weights as safetensors, found {error}") from error
    load_state(head, state, path)
    return head.eval()


def load_state(head: MaskHead, state: dict[str, Tensor], source: Path) -> None:
    """Put `state` into the head, all of it or nothing.

    Raises:
        UserError: naming every missing, extra and misshapen key, and `source`.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    problems = [f"missing {name} {expected[name]}" for name in expected if name not in state]
    problems += [f"extra {name} {tuple(state[name].shape)}" for name in state if name not in expected]
    problems += [
        f"{name}: expected {expected[name]}, found {tuple(state[name].shape)}"
        for name in expected
        if name in state and tuple(state[name].shape) != expected[name]
    ]
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"{source}: not a mask head of the expected architecture:\n  {listed}")
    head.load_state_dict(state)
