"""Random bases and untrained checkpoints: whole, seeded, and of a scale that a sampler can work with."""

from __future__ import annotations

import gzip
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seas_runtime.errors import UserError
from seas_train import load_checkpoint
from seas_train.bases.base import load_base
from seas_train.bases.random_base.geometry import SHAPES, BaseShape, RandomGeometry
from seas_train.bases.random_base.vocabulary import CLIP_MERGES, clip_vocabulary, read_merges
from seas_train.bases.random_base.write import _meta_text_encoder, _meta_unet, _meta_vae, write_random_base
from seas_train.diffusion.sampling import sample
from seas_train.methods.seas.untrained import UntrainedRequest, write_untrained

CLIP_FILE = Path(__file__).parents[3] / "shared" / "weights" / "bpe_simple_vocab_16e6.txt.gz"
SMALL = BaseShape(
    unet={
        "sample_size": 8,
        "block_out_channels": [32, 64, 64, 64],
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    },
    vae={
        "sample_size": 64,
        "block_out_channels": [8, 16, 16, 16],
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "scaling_factor": 0.18215,
    },
    text_encoder={
        "vocab_size": 900,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "projection_dim": 32,
        "hidden_act": "quick_gelu",
    },
)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random") / "base"
    write_random_base(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def checkpoint_folder(base_folder: Path) -> Path:
    folder = base_folder.parent / "checkpoint"
    write_untrained(UntrainedRequest(str(base_folder), folder))
    return folder


def test_sd14_has_the_published_number_of_parameters() -> None:
    shape = SHAPES[RandomGeometry.SD14]
    models = (
        _meta_unet(shape),
        _meta_vae(shape),
        _meta_text_encoder(shape, {"<|startoftext|>": 0, "<|endoftext|>": 1}),
    )
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
    assert counts == [859_520_964, 83_653_863, 123_060_480]


def test_the_base_is_one_that_training_takes(base_folder: Path) -> None:
    base = load_base(base_folder)
    assert base.geometry.image_size == 64
    assert base.geometry.context_length == 77
    assert base.licence == "Apache-2.0"
    names = load_file(base_folder / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names)  # as in the published models
    loaded = base.text_encoder.get_input_embeddings().weight
    assert torch.equal(loaded, names["text_model.embeddings.token_embedding.weight"])


def test_the_seed_decides_the_weights(base_folder: Path, tmp_path: Path) -> None:
    first = write_random_base(tmp_path / "same", SMALL)
    other = write_random_base(tmp_path / "other", SMALL, seed=1)
    assert first == load_base(base_folder).fingerprint
    assert first != other
    one, two = (
        load_file(tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors")
        for name in ("same", "other")
    )
    assert not torch.equal(one["mid_block.resnets.0.conv1.weight"], two["mid_block.resnets.0.conv1.weight"])


def test_latents_stay_near_unit_scale(checkpoint_folder: Path) -> None:
    """Over all 25 steps and with guidance, where a plainly random U-Net drives them beyond ten."""
    checkpoint = load_checkpoint(checkpoint_folder)
    contexts = torch.cat([checkpoint.context(checkpoint.prompts[name]) for name in checkpoint.defects])
    latents = sample(
        unet=checkpoint.unet,
        scheduler=checkpoint.scheduler,
        contexts=contexts,
        unconditional=checkpoint.context(""),
        geometry=checkpoint.geometry,
        steps=25,
        guidance=8.0,
    )
    scale = latents.square().mean(dim=(1, 2, 3)).sqrt()
    assert ((scale > 0.3) & (scale < 4)).all(), scale
    assert float(checkpoint.references.std()) == pytest.approx(1 / 0.18215, rel=0.1)
    with torch.no_grad():
        pixels = checkpoint.vae.decode(latents / 0.18215).sample
    assert 0.1 < float(pixels.std()) < 1


def test_an_untrained_checkpoint_takes_another_size(
    base_folder: Path, checkpoint_folder: Path, tmp_path: Path
) -> None:
    write_untrained(UntrainedRequest(str(base_folder), tmp_path / "large", size=128))
    checkpoint, usual = load_checkpoint(tmp_path / "large"), load_checkpoint(checkpoint_folder)
    assert checkpoint.references.shape[1:] == (4, 16, 16)
    assert (checkpoint.geometry.image_size, checkpoint.meta["preprocessing"]["size"]) == (128, 128)
    assert checkpoint.fingerprint != usual.fingerprint
    assert torch.equal(
        checkpoint.artifacts["mask_head"].out_layer[2].weight,
        usual.artifacts["mask_head"].out_layer[2].weight,
    )


def test_a_size_that_does_not_fit_is_refused(base_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--size: expected a multiple of 64 for base base, found 100"):
        write_untrained(UntrainedRequest(str(base_folder), tmp_path / "c", size=100))
    assert not (tmp_path / "c").exists()


def test_a_full_disk_is_told_before_anything_is_written(
    base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, 60 * 2**20))
    with pytest.raises(UserError, match=r"this base takes 0\.\d\d GiB of disk, and .* has 0\.06 GiB free"):
        write_random_base(tmp_path / "base", SMALL)
    with pytest.raises(UserError, match="this checkpoint takes"):
        write_untrained(UntrainedRequest(str(base_folder), tmp_path / "checkpoint"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_replaced_unasked(
    base_folder: Path, checkpoint_folder: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    file = tmp_path / "file"
    file.write_text("")
    for place, words in (
        (base_folder, "there is a random base already; give --force"),
        (foreign, "found other files"),
        (file, "found a file"),
    ):
        with pytest.raises(UserError, match=words):
            write_random_base(place, SMALL)
    for place, words in (
        (checkpoint_folder, "there is a checkpoint already; give --force"),
        (foreign, "found other files"),
        (file, "found a file"),
    ):
        with pytest.raises(UserError, match=words):
            write_untrained(UntrainedRequest(str(base_folder), place))
    assert (foreign / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not CLIP's\ni n\n", "expected CLIP's bpe_simple_vocab_16e6.txt.gz"),
        (gzip.compress(b"#version: 0.2\ni n\n", mtime=0), "found 2 lines"),
        (b"\x1f\x8b broken", "expected text, or text in gzip"),
        (b"\xff\xfe\xfd", "expected text"),
    ],
)
def test_another_vocabulary_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "vocabulary.gz"
    file.write_bytes(content)
    with pytest.raises(UserError, match=words):
        write_random_base(tmp_path / "base", SMALL, vocabulary=file)
    with pytest.raises(UserError, match="expected CLIP's vocabulary, found nothing"):
        read_merges(tmp_path / "nothing")
    assert not (tmp_path / "base").exists()


def test_clips_vocabulary_has_its_size_and_order() -> None:
    entries = clip_vocabulary([f"x{number} y" for number in range(CLIP_MERGES)])
    assert len(entries) == 49408
    assert (entries["!"], entries["!</w>"], entries["x0y"]) == (0, 256, 512)
    assert (entries["<|startoftext|>"], entries["<|endoftext|>"]) == (49406, 49407)


@pytest.mark.skipif(not CLIP_FILE.is_file(), reason="CLIP's vocabulary file is not beside the repository")
def test_clips_tokens_are_clips(tmp_path: Path) -> None:
    write_random_base(tmp_path / "base", SMALL, vocabulary=CLIP_FILE)
    tokenizer = load_base(tmp_path / "base").tokenizer
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert np.array_equal(tokenizer("A CAT").input_ids, tokenizer("a cat").input_ids)


def test_an_untrained_checkpoint_can_have_a_small_decoder(base_folder: Path, tmp_path: Path) -> None:
    settings = {
        "mask_head": {"decoder": "small", "coarse_width": 16, "fine_width": 8, "heads": 1, "groups": 4}
    }
    write_untrained(UntrainedRequest(str(base_folder), tmp_path / "small", settings=settings))
    write_untrained(UntrainedRequest(str(base_folder), tmp_path / "whole"))
    small, whole = (load_checkpoint(tmp_path / name) for name in ("small", "whole"))
    assert small.artifacts["mask_head"].decoder is not None
    assert small.artifacts["mask_head"].architecture.width == 24
    assert whole.artifacts["mask_head"].decoder is None
    assert small.fingerprint != whole.fingerprint
    with pytest.raises(UserError, match=r"mask_head\.decoder: expected whole \| small, found 'tiny'"):
        write_untrained(
            UntrainedRequest(str(base_folder), tmp_path / "c", settings={"mask_head": {"decoder": "tiny"}})
        )
