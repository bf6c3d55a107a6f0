"""U-Net and VAE decoder run block by block, so that the outputs of their up-blocks can be read: the taps.

SeaS's mask head reads two up-blocks of the U-Net and three of the decoder. Hooks would do for training, but
export traces these functions too: they call the models' own blocks in their own order, and stop after the
last block that is asked for. The results are bit-identical to the models' own forward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seas_runtime.errors import UserError


def tap_indices(unet: Any) -> tuple[int, int]:
    """Indices of the up-blocks of the U-Net that give the coarse and the fine tap.

    Coarse is the last up-block whose output has half the latent's resolution, fine the first at full
    resolution; in Stable Diffusion 1.x these are `up_blocks[1]` and `up_blocks[2]`, the paper's up-2 and
    up-3.

    Raises:
        UserError: the U-Net has no up-block at one of the two resolutions.
    """
    shrink = 2 ** sum(block.downsamplers is not None for block in unet.down_blocks)
    coarse, fine = -1, -1
    for index, block in enumerate(unet.up_blocks):
        if block.upsamplers is not None:
            shrink //= 2
        if shrink == 2:
            coarse = index
        if shrink == 1 and fine < 0:
            fine = index
    if coarse < 0 or fine < 0:
        raise UserError(
            "this U-Net cannot feed the mask head: expected up-blocks whose outputs have half and all of the "
            f"latent's resolution, found {len(unet.up_blocks)} up-blocks without them; "
            "use a base with at least three levels"
        )
    return coarse, fine


def unet_with_taps(
    unet: Any, sample: Tensor, timestep: Tensor, context: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Predict the noise and give the outputs of the two tapped up-blocks.

    Args:
        unet: a Stable Diffusion 1.x `UNet2DConditionModel`.
        sample: [B, C, h, w], scaled latents; h and w are multiples of the U-Net's overall reduction.
        timestep: [] or [B], any integer or float dtype.
        context: [B, L, D], the text encoder's last hidden state.

    Returns:
        eps [B, C, h, w], coarse [B, Cc, h/2, w/2], fine [B, Cf, h, w].
    """
    coarse_index, fine_index = tap_indices(unet)
    embedding = unet.time_embedding(unet.get_time_embed(sample=sample, timestep=timestep))
    hidden = unet.conv_in(sample)

    skips: tuple[Tensor, ...] = (hidden,)
    for block in unet.down_blocks:
        if getattr(block, "has_cross_attention", False):
            hidden, block_skips = block(hidden_states=hidden, temb=embedding, encoder_hidden_states=context)
        else:
            hidden, block_skips = block(hidden_states=hidden, temb=embedding)
        skips += block_skips

    if unet.mid_block is not None:
        if getattr(unet.mid_block, "has_cross_attention", False):
            hidden = unet.mid_block(hidden, embedding, encoder_hidden_states=context)
        else:
            hidden = unet.mid_block(hidden, embedding)

    outputs: list[Tensor] = []
    for block in unet.up_blocks:
        count = len(block.resnets)
        block_skips, skips = skips[-count:], skips[:-count]
        if getattr(block, "has_cross_attention", False):
            hidden = block(
                hidden_states=hidden,
                temb=embedding,
                res_hidden_states_tuple=block_skips,
                encoder_hidden_states=context,
            )
        else:
            hidden = block(hidden_states=hidden, temb=embedding, res_hidden_states_tuple=block_skips)
        outputs.append(hidden)

    if unet.conv_norm_out is not None:
        hidden = unet.conv_act(unet.conv_norm_out(hidden))
    return unet.conv_out(hidden), outputs[coarse_index], outputs[fine_index]


def decode_taps(vae: Any, latents: Tensor, count: int = 3) -> list[Tensor]:
    """The outputs of the VAE decoder's first `count` up-blocks, computing nothing after them.

    Args:
        vae: an `AutoencoderKL`.
        latents: [B, C, h, w], *unscaled* (divided by the scaling factor).
        count: how many up-blocks to run, 1 to all.

    Returns:
        `count` tensors: [B, C0, 2h, 2w], [B, C1, 4h, 4w], [B, C2, 8h, 8w] for the first three of an f8 VAE.
    """
    decoder = vae.decoder
    hidden = latents if vae.post_quant_conv is None else vae.post_quant_conv(latents)
    hidden = decoder.mid_block(decoder.conv_in(hidden), None)
    taps: list[Tensor] = []
    for block in list(decoder.up_blocks)[:count]:
        hidden = block(hidden, None)
        taps.append(hidden)
    return taps


def decode_pixels(vae: Any, latents: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Decode *unscaled* latents [B, C, h, w] to pixels [B, 3, H, W] in about -1..1, with every up-block's
    output."""
    decoder = vae.decoder
    taps = decode_taps(vae, latents, count=len(decoder.up_blocks))
    return decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(taps[-1]))), taps


def decode_image(vae: Any, latents: Tensor) -> Tensor:
    """Decode *scaled* latents [B, C, h, w], as the U-Net sees them, to pixels [B, 3, H, W] in about -1..1."""
    return decode_pixels(vae, latents / vae.config.scaling_factor)[0]


def to_uint8(pixels: Tensor) -> Tensor:
    """Pixels [B, 3, H, W] in -1..1 as uint8 [B, H, W, 3]: clamped, then rounded half to even, as diffusers
    does."""
    scaled = (pixels.float() / 2 + 0.5).clamp(0, 1) * 255
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
