"""Bundles whose mask head has a small decoder of its own: `decode_mask` runs it in place of the VAE's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from seas_export.export import ExportResult, export_bundle
from seas_export.methods.seas.reference import ReferenceLoop
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_train import load_checkpoint
from seas_train.bases.base import Base
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.methods.seas.mask_head.network.small_decoder import SmallDecoder
from tests.export.checkpoints import write_tiny_checkpoint


def with_decoder(base: Base, head: MaskHead) -> None:
    """Give the head a small decoder, with as many channels as the VAE's features have."""
    channels = base.geometry.latent_channels
    head.architecture = replace(head.architecture, latent_channels=channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        head.decoder = SmallDecoder(channels, head.architecture.vae_tap_channels).requires_grad_(False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("small_decoder"), change=with_decoder)


@pytest.fixture(scope="module")
def result(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return export_bundle(checkpoint, tmp_path_factory.mktemp("small_decoder_bundle") / "bundle")


def weights(bundle: Path, graph: str) -> set[str]:
    """Where a graph's weights lie in the file that all graphs share."""
    path = Bundle.read(bundle).graph_path(graph)
    model = onnx.load(str(path), load_external_data=False)
    places = [{one.key: one.value for one in value.external_data} for value in model.graph.initializer]
    return {place["offset"] for place in places if place}


def test_masks_are_read_by_it(checkpoint: Path, result: ExportResult) -> None:
    assert result.parity is not None
    assert result.parity.passed
    assert {row.graph for row in result.parity.graphs} >= {"mask_head", "decode_mask"}
    generator = Generator.open(result.bundle, threads=1)
    (made,) = generator.generate("chip", 1, seed=4, gate=False)
    loop = ReferenceLoop(checkpoint, steps=generator.manifest.sampler.steps)
    (expected,) = loop.generate("chip", 1, seed=4)
    assert np.mean((made.mask > 0) == (expected.mask > 0)) > 0.999
    assert 0 < np.mean(expected.mask > 0) < 1


def test_the_whole_decoder_is_not_in_its_graph(result: ExportResult) -> None:
    whole = weights(result.bundle, "vae_decoder")
    assert whole & weights(result.bundle, "decode_image")
    assert not whole & weights(result.bundle, "decode_mask")
    assert weights(result.bundle, "mask_head") <= weights(result.bundle, "decode_mask")


def test_half_precision_is_measured(checkpoint: Path, tmp_path: Path) -> None:
    made = export_bundle(checkpoint, tmp_path / "half", precision="fp16")
    assert made.parity is not None
    assert made.parity.passed


def test_latents_of_another_width_are_refused(tmp_path: Path) -> None:
    def wrong(base: Base, head: MaskHead) -> None:
        with_decoder(base, head)
        head.architecture = replace(head.architecture, latent_channels=8)
        head.decoder = SmallDecoder(8, head.architecture.vae_tap_channels)

    with pytest.raises(UserError, match="the mask head reads other features than this U-Net and VAE give"):
        load_checkpoint(write_tiny_checkpoint(tmp_path, change=wrong))
