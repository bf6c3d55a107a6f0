from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seas_export.export import ExportResult
from seas_export.methods.seas.expected import make_placed
from seas_export.methods.seas.reference import ReferenceLoop
from seas_runtime.backends.contract import open_backend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.methods.request import PairRequest
from seas_runtime.methods.seas_options import SeasOptions
from seas_train import Checkpoint
from seas_train.diffusion.taps import decode_taps, unet_with_taps
from tests.export.conftest import STEPS


@pytest.fixture(scope="module")
def loop(checkpoint: Checkpoint) -> ReferenceLoop:
    return ReferenceLoop(checkpoint, STEPS)


def test_is_the_runtimes_pair(loop: ReferenceLoop, generator: Generator) -> None:
    theirs = list(loop.generate("scratch", 3, seed=4, start=2, batch=3))
    ours = list(generator.generate("scratch", 3, seed=4, start=2, batch=3, gate=False))
    for made, expected in zip(ours, theirs, strict=True):
        assert np.abs(made.image.astype(int) - expected.image).max() <= 1
        assert np.abs(made.probability - expected.probability).max() < 1e-3
        assert (made.mask != expected.mask).mean() < 0.005


@pytest.mark.parametrize(
    ("sampler", "steps", "strength"),
    [("dpmpp_2m", 25, None), ("dpmpp_2m", STEPS, 0.7), ("dpmpp_2m", 25, 0.28), ("ddim", 20, 0.5)],
)
def test_placed_pairs_are_the_runtimes(
    checkpoint: Checkpoint, generator: Generator, sampler: str, steps: int, strength: float | None
) -> None:
    """Blended, and begun late, by diffusers' own schedulers."""
    drawn = [make_placed(checkpoint, seed) for seed in range(3)]
    loop = ReferenceLoop(checkpoint, steps, sampler, strength=strength or 1.0)
    theirs = list(loop.generate("scratch", 3, seed=4, start=2, batch=3, placed=drawn))
    options = SeasOptions(strength=strength)
    request = generator.request("scratch", 4, options=options, sampler=sampler, steps=steps, gate=False)
    batch = [PairRequest(request, 2 + place, item) for place, item in enumerate(drawn)]
    (ours,) = generator.generate_batches([batch])
    for made, expected in zip(ours, theirs, strict=True):
        assert np.abs(made.image.astype(int) - expected.image).max() <= 1
        assert np.abs(made.probability - expected.probability).max() < 1e-3
    (whole,) = ReferenceLoop(checkpoint, steps, sampler).generate("scratch", 1, seed=4, start=2)
    assert np.abs(whole.image.astype(int) - theirs[0].image).mean() > 1


def test_a_background_is_noised_anew_where_the_bundle_says_so(
    checkpoint: Checkpoint, exported: ExportResult
) -> None:
    content = Bundle.read(exported.bundle)
    generation = {**content.manifest.generation, "blend": "fresh"}
    content = replace(content, manifest=replace(content.manifest, generation=generation))
    generator = Generator(content, open_backend("cpu", 1))
    drawn = make_placed(checkpoint, 5)
    (made,) = next(
        generator.generate_batches([[PairRequest(generator.request("chip", gate=False), 0, drawn)]])
    )
    images = [
        next(ReferenceLoop(checkpoint, STEPS, fresh_blend=fresh).generate("chip", 1, placed=[drawn])).image
        for fresh in (True, False)
    ]
    apart = [np.abs(made.image.astype(int) - image).max() for image in images]
    assert apart[0] <= 1 < apart[1]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_masks_of_fewer_steps_are_the_last_steps(
    checkpoint: Checkpoint, generator: Generator, count: int
) -> None:
    """A request's choice, by the runtime's maps against those that PyTorch reads in the last steps alone."""
    (theirs,) = ReferenceLoop(checkpoint, STEPS, mask_steps=count).generate("scratch", 1, seed=4)
    options = SeasOptions(mask_steps=count)
    (ours,) = generator.generate("scratch", 1, seed=4, gate=False, options=options)
    assert np.abs(ours.image.astype(int) - theirs.image).max() <= 1
    assert np.abs(ours.probability - theirs.probability).max() < 1e-3
    assert ours.record.to_dict()["options"] == {"mask_steps": count}
    (whole,) = generator.generate("scratch", 1, seed=4, gate=False)
    assert np.array_equal(whole.image, ours.image)
    assert np.array_equal(whole.probability, ours.probability) == (count == 3)


def test_another_sampler_is_the_runtimes_too(checkpoint: Checkpoint, generator: Generator) -> None:
    """DDIM by its table against diffusers' DDIMScheduler."""
    (theirs,) = ReferenceLoop(checkpoint, 20, "ddim").generate("chip", 1)
    (ours,) = generator.generate("chip", 1, sampler="ddim", steps=20, gate=False)
    assert np.abs(ours.image.astype(int) - theirs.image).max() <= 1


def test_a_pair_does_not_depend_on_its_batch(loop: ReferenceLoop) -> None:
    together = list(loop.generate("chip", 3, batch=3))
    alone = list(loop.generate("chip", 1, start=2))
    assert np.abs(together[2].latents - alone[0].latents).max() < 1e-4
    assert together[2].seconds > 0


def test_guidance_and_tau_can_be_given(loop: ReferenceLoop) -> None:
    (usual,) = loop.generate("chip", 1)
    (other,) = loop.generate("chip", 1, guidance=9.0, tau=0.0)
    assert not np.array_equal(usual.image, other.image)
    assert (other.mask == 255).all()


def test_decodes_the_whole_vae_four_times_a_pair(
    loop: ReferenceLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the authors' code does: thrice for the masks, once for the image."""
    vae = loop.checkpoint.vae
    decodes: list[torch.Size] = []
    decode = type(vae).decode

    def counted(self: object, latents: torch.Tensor, *args: object, **options: object) -> object:
        decodes.append(latents.shape)
        return decode(self, latents, *args, **options)

    monkeypatch.setattr(type(vae), "decode", counted)
    list(loop.generate("chip", 2, batch=2))
    assert decodes == [torch.Size([2, 4, 8, 8])] * 4


def test_hooks_read_the_same_taps_as_our_own_forward(loop: ReferenceLoop) -> None:
    checkpoint = loop.checkpoint
    latents, context = torch.randn(2, 4, 8, 8), checkpoint.context("a <ob>").repeat(2, 1, 1)
    with torch.inference_mode():
        predicted, taps = loop._predict(latents, torch.tensor(100), context)
        ours = unet_with_taps(checkpoint.unet, latents, torch.tensor(100), context)
        _, vae_taps = loop._decode(latents)
        our_taps = decode_taps(checkpoint.vae, latents / checkpoint.geometry.scaling_factor)
    for found, expected in zip((predicted, *taps, *vae_taps), (*ours, *our_taps), strict=True):
        assert torch.equal(found, expected)
    assert not checkpoint.unet.up_blocks[1]._forward_hooks


def test_unknown_defect(loop: ReferenceLoop) -> None:
    with pytest.raises(UserError, match=r"defect: expected one of chip, scratch, good, found 'dent'"):
        list(loop.generate("dent", 1))


def test_what_is_compiled_is_the_same_loop(
    checkpoint: Checkpoint, loop: ReferenceLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled functions give their taps as outputs, where the models' own forward is read by hooks."""
    compiled: list[str] = []

    def compile_(function: Callable[..., object]) -> Callable[..., object]:
        compiled.append(function.__name__)
        return function

    monkeypatch.setattr(torch, "compile", compile_)
    other = ReferenceLoop(checkpoint, STEPS, compiled=True)
    other.prepare(2)
    (made,), (expected,) = other.generate("chip", 1), loop.generate("chip", 1)
    assert compiled == ["unet_with_taps", "decode_pixels"]
    assert np.abs(made.latents - expected.latents).max() < 1e-4
    assert np.abs(made.probability - expected.probability).max() < 1e-3


def test_half_the_bits_give_nearly_the_pair(checkpoint_folder: Path, loop: ReferenceLoop) -> None:
    (made,) = ReferenceLoop(checkpoint_folder, STEPS, dtype="bfloat16").generate("chip", 1)
    (expected,) = loop.generate("chip", 1)
    error = np.square(made.latents - expected.latents).mean() / np.square(expected.latents).mean()
    assert 0 < error < 0.05
    assert made.probability.dtype == np.float32
