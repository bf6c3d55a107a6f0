from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seas_runtime.errors import UserError
from seas_train.bases.base import Base, load_base
from seas_train.diffusion.taps import (
    decode_image,
    decode_pixels,
    decode_taps,
    tap_indices,
    to_uint8,
    unet_with_taps,
)
from seas_train.methods.table import find_method
from tests.bases import write_tiny_base


def test_unet_with_taps_is_the_unet(tiny_base: Base) -> None:
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 4, 8, 8, generator=generator)
    context = torch.randn(2, 16, 16, generator=generator)
    timesteps = torch.tensor([3, 801])
    outputs: dict[int, torch.Tensor] = {}
    handles = [
        block.register_forward_hook(lambda _m, _i, output, index=index: outputs.__setitem__(index, output))
        for index, block in enumerate(tiny_base.unet.up_blocks)
    ]
    with torch.no_grad():
        expected = tiny_base.unet(sample, timesteps, context).sample
    for handle in handles:
        handle.remove()
    with torch.no_grad():
        eps, coarse, fine = unet_with_taps(tiny_base.unet, sample, timesteps, context)
    assert torch.equal(eps, expected)
    assert torch.equal(coarse, outputs[1])
    assert torch.equal(fine, outputs[2])
    assert coarse.shape[-1] == 4
    assert fine.shape[-1] == 8


def test_the_decoder_by_hand_is_the_decoder(tiny_base: Base) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = tiny_base.vae.decode(latents).sample
        pixels, taps = decode_pixels(tiny_base.vae, latents)
        first = decode_taps(tiny_base.vae, latents, count=2)
        scaled = decode_image(tiny_base.vae, latents * tiny_base.geometry.scaling_factor)
    assert torch.equal(pixels, expected)
    assert torch.allclose(scaled, expected, atol=1e-5)
    assert [tap.shape[-1] for tap in taps[:3]] == [16, 32, 64]
    assert all(torch.equal(one, other) for one, other in zip(first, taps, strict=False))


def test_taps_stop_early(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("ran a block that was not asked for")

    monkeypatch.setattr(tiny_base.vae.decoder.up_blocks[2], "forward", never)
    with torch.no_grad():
        assert len(decode_taps(tiny_base.vae, torch.zeros(1, 4, 8, 8), count=2)) == 2


def test_tap_indices_of_three_levels_without_a_mid_block() -> None:
    from diffusers import UNet2DConditionModel

    # The form of BK-SDM-Tiny, whose innermost level was removed.
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 16),
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        mid_block_type=None,
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    assert tap_indices(unet) == (0, 1)
    inputs = (torch.zeros(1, 4, 8, 8), torch.tensor(5), torch.zeros(1, 3, 8))
    with torch.no_grad():
        eps, coarse, fine = unet_with_taps(unet, *inputs)
        assert torch.equal(eps, unet(*inputs).sample)
    assert (coarse.shape[-1], fine.shape[-1]) == (4, 8)


def test_a_base_without_the_features_loads_and_seas_refuses_it(tmp_path: Path) -> None:
    two_levels = {
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    base = load_base(write_tiny_base(tmp_path / "base", unet=two_levels))
    assert base.geometry.latent_size == 8
    with pytest.raises(
        UserError, match="this U-Net cannot feed the mask head: expected up-blocks whose outp"
    ):
        find_method("seas").check_base(base)


def test_a_vae_that_doubles_twice_is_refused_by_seas(tiny_base: Base) -> None:
    from diffusers import AutoencoderKL

    twice = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        norm_num_groups=4,
    )
    with pytest.raises(
        UserError, match="base tiny: expected a VAE whose decoder doubles the size three times"
    ):
        find_method("seas").check_base(replace(tiny_base, vae=twice))


def test_uint8_is_as_diffusers_makes_it() -> None:
    from diffusers.image_processor import VaeImageProcessor

    pixels = torch.linspace(-1.3, 1.3, 3 * 2 * 50).view(2, 3, 1, 50)
    images = VaeImageProcessor().postprocess(pixels, output_type="np")
    expected = VaeImageProcessor.numpy_to_pil(images)
    assert [image.tobytes() for image in expected] == [image.numpy().tobytes() for image in to_uint8(pixels)]
