"""The small decoder: what it learns, and that the head reads it in place of the VAE's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seas_runtime.errors import UserError
from seas_train.data import Product
from seas_train.diffusion.examples import Examples
from seas_train.diffusion.taps import decode_taps
from seas_train.methods.seas.mask_head.config import Decoder, MaskHeadConfig
from seas_train.methods.seas.mask_head.decoder.stage import DecoderStage, small_decoder
from seas_train.methods.seas.mask_head.latents import Reading, generation_features
from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.methods.seas.mask_head.network.head import load_mask_head, save_mask_head
from seas_train.methods.seas.mask_head.network.small_decoder import SmallDecoder
from seas_train.methods.seas.mask_head.stage import MaskHeadStage
from seas_train.methods.seas.prompts import FineTuned
from seas_train.training.loop import run_training
from seas_train.training.stage import LoopConfig

CONFIG = MaskHeadConfig(
    steps=2,
    coarse_width=8,
    fine_width=4,
    heads=2,
    groups=3,
    depth=1,
    statistics_batches=1,
    decoder=Decoder.SMALL,
    decoder_steps=60,
    decoder_width=16,
)
READING = Reading((120, 80, 40))


def make(tuned: FineTuned, product: Product, config: MaskHeadConfig = CONFIG) -> DecoderStage:
    examples = Examples(product, tuned.models.geometry, rotate=True, flip=True)
    return DecoderStage(tuned, examples, config, 5, READING)


def run(stage: Any, folder: Path, *, resume: bool = False) -> dict[str, float]:
    return run_training(stage, folder, LoopConfig(seed=5, save_every=30), resume=resume, progress=False)


def test_it_learns_the_features_of_the_vae(tmp_path: Path, tuned: FineTuned, small_product: Product) -> None:
    """Errors are in parts of the features' variance; whoever gives their mean has 1."""
    stage = make(tuned, small_product)
    latents = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        found = stage.module(latents)
        wanted = decode_taps(tuned.models.vae, latents)
    assert [tap.shape for tap in found] == [tap.shape for tap in wanted]
    losses = run(stage, tmp_path)
    first = json.loads((tmp_path / "mask_decoder/losses.jsonl").read_text().splitlines()[0])["loss"]
    assert losses["loss"] < first / 2
    assert [tap.shape[1] for tap in stage.decoder(latents)] == [16, 16, 8]


def test_it_goes_on_where_it_was_and_gives_the_same(
    tmp_path: Path, tuned: FineTuned, small_product: Product
) -> None:
    short = replace(CONFIG, decoder_steps=3)
    stages = [make(tuned, small_product, short) for _ in range(3)]
    run(stages[0], tmp_path / "one")
    run(stages[1], tmp_path / "two")
    run(stages[2], tmp_path / "two", resume=True)  # nothing is left to do
    for name, tensor in stages[0].decoder.state_dict().items():
        assert torch.equal(tensor, stages[1].decoder.state_dict()[name]), name
        assert torch.equal(tensor, stages[2].decoder.state_dict()[name]), name
    other = make(tuned, small_product, replace(short, decoder_width=32))
    with pytest.raises(UserError, match="decoder_width"):
        run(other, tmp_path / "two", resume=True)


def test_the_head_is_trained_on_it_and_keeps_it(
    tmp_path: Path, tuned: FineTuned, small_product: Product
) -> None:
    examples = Examples(small_product, tuned.models.geometry, rotate=True, flip=True)
    config = replace(CONFIG, decoder_steps=2)
    assert small_decoder(tuned, examples, replace(config, decoder=Decoder.WHOLE), 5, READING, run_never) == (
        None,
        {},
    )
    decoder, losses = small_decoder(
        tuned, examples, config, 5, READING, lambda stage: run(stage, tmp_path / "run")
    )
    assert decoder is not None
    assert set(losses) == {"mask_decoder"}
    stage = MaskHeadStage(tuned, examples, config, 5, READING, decoder)
    run(stage, tmp_path / "run")
    head = stage.finish()
    save_mask_head(head, tmp_path / "head")
    again = load_mask_head(tmp_path / "head")
    assert isinstance(again.decoder, SmallDecoder)
    for name, tensor in decoder.state_dict().items():
        assert torch.equal(again.decoder.state_dict()[name], tensor), name
    sample, context = torch.randn(1, 4, 8, 8), torch.randn(1, 16, 16)
    read = generation_features(tuned.models, again, sample, 80, context).vae
    expected = decoder(sample / tuned.models.geometry.scaling_factor)
    for tap, other in zip(read, expected, strict=True):
        torch.testing.assert_close(tap, other.detach())
    assert again.predict(torch.randn(1, 32, 4, 4), torch.randn(1, 16, 8, 8), read).shape == (1, 64, 64)


def run_never(stage: Any) -> Any:
    raise AssertionError("nothing is trained for the VAE's own features")


def test_a_head_without_one_is_described_as_before() -> None:
    values = MaskHeadArchitecture(32, 16, (16, 16, 8)).to_dict()
    assert "latent_channels" not in values
    assert MaskHeadArchitecture.from_dict(values).latent_channels is None
    own = MaskHeadArchitecture(32, 16, (16, 16, 8), latent_channels=4)
    assert MaskHeadArchitecture.from_dict(own.to_dict()) == own


def test_widths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"expected multiples of 8 of a small decoder, found \[12, 12, 6\]"):
        MaskHeadArchitecture(32, 16, (12, 12, 6), latent_channels=4)
    with pytest.raises(UserError, match="latent_channels: expected whole numbers from 1"):
        MaskHeadArchitecture(32, 16, (16, 16, 8), latent_channels=0)
    with pytest.raises(UserError, match="decoder_width: expected a multiple of 16, found 24"):
        MaskHeadConfig(decoder_width=24)
