"""Random weights, one tensor at a time: seeded by name, of a scale that keeps activations near one.

A U-Net of random weights would drive the latents off: the sampler divides what is not noise by the signal's
share, 0.07 at the start. So its last layers pass the sample through, as a denoiser that knows nothing of
images would answer (all is noise), and the random rest of the network adds to that. Latents then stay near
unit scale over any number of steps, and what the prompt changes in them can be seen.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SAMPLE_GAIN = 0.934
"""(sqrt(1 + s^2) - 1) / s, with s = 14.6 the noise over the signal at t = 999: unit noise to unit latents."""
RANDOM_OUTPUT = 0.05
"""Standard deviation of the U-Net's output beside the sample. Integrated over the noise levels it is 0.7."""
PIXEL_DEVIATION = 0.4
_SILU_RMS = 0.6  # of a unit normal through SiLU
Make = Callable[[str, tuple[int, ...]], Tensor]


def write_weights(file: Path, module: nn.Module, make: Make, prefix: str = "") -> None:
    """Write a module's state as safetensors in float32, never holding more than one tensor.

    Args:
        file: to write.
        module: on PyTorch's `meta` device; gives names and shapes.
        make: makes the tensor of a name and shape.
        prefix: of the names in the file.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        entries[prefix + name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with file.open("wb") as opened:
        opened.write(len(header).to_bytes(8, "little") + header)
        for name, shape in shapes.items():
            opened.write(make(name, shape).contiguous().numpy().data)


def size_of(module: nn.Module) -> int:
    """Bytes of a module's state in float32."""
    return sum(4 * tensor.numel() for tensor in module.state_dict().values())


def random_tensor(seed: int, component: str, name: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor that depends on the seed and its own name alone, float32.

    Weights have variance 1 / inputs, so that a layer keeps its input's scale; norms' gains are about one,
    biases and embeddings small.
    """
    digest = hashlib.sha256(f"{seed}/{component}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    made = torch.randn(shape, generator=generator)
    if len(shape) == 1:
        return made.mul_(0.1).add_(1.0) if name.endswith("weight") else made.mul_(0.05)
    if "embedding" in name and "time_embedding" not in name:
        return made.mul_(0.1)
    return made.mul_(math.prod(shape[1:]) ** -0.5)


def unet_maker(seed: int, unet: Any) -> Make:
    """Return what makes the U-Net's tensors; see the module's docstring."""
    config = unet.config
    width, groups, channels = config.block_out_channels[0], config.norm_num_groups, config.in_channels
    carriers = _carriers(width // groups, channels)
    last = f"up_blocks.{len(config.block_out_channels) - 1}"
    place = len(unet.up_blocks[-1].resnets) - 1
    silent = re.compile(  # what is added to the residual stream after the sample has entered it
        rf"{last}\.(resnets\.{place}\.(conv2|conv_shortcut)|attentions\.{place}\.proj_out)\.(weight|bias)"
    )

    def make(name: str, shape: tuple[int, ...]) -> Tensor:
        made = random_tensor(seed, "unet", name, shape)
        if name == "conv_in.weight":
            for row, (channel, sign) in carriers.items():
                made[row] = 0
                made[row, channel, shape[2] // 2, shape[3] // 2] = sign
        elif name in ("conv_in.bias", "conv_norm_out.bias"):
            made[list(carriers)] = 0
        elif name == "conv_norm_out.weight":
            made[list(carriers)] = 1
        elif silent.fullmatch(name):
            made[list(carriers)] = 0
            if name.endswith("conv_shortcut.weight"):  # reads [what came before, conv_in's output]
                for row in carriers:
                    made[row, shape[1] - width + row] = 1
        elif name == "conv_out.weight":
            made *= RANDOM_OUTPUT / _SILU_RMS
            _read_carriers(made, carriers, width // groups)
        elif name == "conv_out.bias":
            made.zero_()
        return made

    return make


def _carriers(size: int, channels: int) -> dict[int, tuple[int, float]]:
    """Channel of the residual stream -> (latent channel, sign), a group of the last norm for each latent one.

    Half of a group carries the sample and half its negative: the group's mean is zero, so that the norm only
    scales it, and SiLU(z) - SiLU(-z) = z.
    """
    pairs = size // 2
    return {
        size * channel + place: (channel, 1.0 if place < pairs else -1.0 if place < 2 * pairs else 0.0)
        for channel in range(channels)
        for place in range(size)
    }


def _read_carriers(weight: Tensor, carriers: Mapping[int, tuple[int, float]], size: int) -> None:
    """Make `conv_out` give the normalised sample, of standard deviation SAMPLE_GAIN."""
    pairs = size // 2
    gain = SAMPLE_GAIN / pairs * math.sqrt(2 * pairs / size)
    middle = weight.shape[2] // 2
    for column, (channel, sign) in carriers.items():
        weight[:, column] = 0
        weight[channel, column, middle, middle] = gain * sign


def vae_maker(seed: int, vae: Any) -> Make:
    """Return what makes the VAE's tensors: latents that the scaling factor takes to one, pixels in -1..1."""
    channels, scaling = vae.config.latent_channels, vae.config.scaling_factor

    def make(name: str, shape: tuple[int, ...]) -> Tensor:
        made = random_tensor(seed, "vae", name, shape)
        if name == "encoder.conv_out.weight":
            made *= 1 / (scaling * _SILU_RMS)
        elif name == "decoder.conv_out.weight":
            made *= PIXEL_DEVIATION / _SILU_RMS
        elif name == "quant_conv.weight":
            made[channels:] *= 0.01  # the posterior's log-variance: near zero
        return made

    return make


def text_maker(seed: int) -> Make:
    """Return what makes the text encoder's tensors."""
    return lambda name, shape: random_tensor(seed, "text_encoder", name, shape)
