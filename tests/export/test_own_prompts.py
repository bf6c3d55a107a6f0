"""Prompts of one's own, a negative one, guidance rescale and the start, end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from seas_export.export import ExportResult
from seas_export.extras import Extras
from seas_export.methods.seas.reference import ReferenceLoop
from seas_export.methods.seas.tokenizer import tokenizer_table
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.figures import psnr, squared_error
from seas_runtime.generation.encoding import encode_prompts
from seas_runtime.generation.generator import Generator
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.seas_options import SeasOptions
from seas_runtime.methods.tokenizer import read_tokenizer
from seas_train import Checkpoint
from seas_train.bases.base import MICRO_PATH
from seas_train.diffusion.sampling import rescaled
from tests.export.commands import Run
from tests.export.conftest import STEPS, already_traced

MIXED = "a <ob> with <chip_1> <scratch_2>"
ALL = Extras(own_prompts=True, guidance_rescale=0.0, add_noise_step=1000)


@pytest.fixture(scope="module")
def own(checkpoint_folder: Path, exported: ExportResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that has everything that can be asked for, held against PyTorch."""
    from seas_export.export import export_bundle

    out = tmp_path_factory.mktemp("own") / "bundle"
    with already_traced(exported.bundle):
        return export_bundle(checkpoint_folder, out, steps=STEPS, extras=ALL).bundle


@pytest.fixture(scope="module")
def generating(own: Path) -> Generator:
    return Generator.open(own, threads=1)


TEXTS = (
    "",
    MIXED,
    "A <OB> photo, don't 123 it's WE'LL",
    "<chip_1><chip_2>x<scratch_1>.",
    "tab\tand\n\nlines   !!!...--",
    "caf\u00e9 cafe\u0301 \u00c9COLE \u00df \u03a3\u03a3 \u0130 \u4e2d\u6587 \U0001f527 \u00b2\u0661",
    "<|endoftext|> a <|startoftext|>",
    "'s 're're '' can't've",
)


@pytest.mark.parametrize("text", TEXTS)
def test_the_runtime_tokenizes_as_transformers_does(text: str, checkpoint: Checkpoint) -> None:
    for tokenizer, learned in ((checkpoint.tokenizer, True), (_micro(), False)):
        if "<" in text and not learned and "|" not in text:
            continue
        table = read_tokenizer(tokenizer_table(tokenizer, 77), "here")
        expected = tokenizer(text, padding="max_length", max_length=77).input_ids
        if "<OB>" in text:
            with pytest.raises(UserError, match="there is no token '<OB>'; expected one of <ob>, <chip_1>"):
                table.ids(text, 77)
            continue
        assert table.ids(text, 77).tolist() == expected


def _micro() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(MICRO_PATH / "tokenizer")


def test_a_prompt_is_encoded_as_pytorch_encodes_it(own: Path, checkpoint: Checkpoint) -> None:
    bundle = Bundle.read(own)
    encode_prompts(bundle, [MIXED, "a <ob>"])
    for text, context in bundle.contexts.items():
        assert np.abs(context - checkpoint.context(text)[0].numpy()).max() <= 1e-5
    assert np.abs(bundle.contexts["a <ob>"] - bundle.tables["embeddings"]["good"]).max() <= 1e-5


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a <ob> with <hole_1>", r"there is no token '<hole_1>'; expected one of <ob>, <chip_1>"),
        ("word " * 80, r"prompt: expected at most \d+ tokens with start and end, found \d\d+; shorten it"),
        ("x" * 5000, "expected a text of at most 4096 characters"),
        ("  ", "prompt: expected text that is not empty"),
    ],
)
def test_prompts_that_do_not_fit(prompt: str, message: str, generating: Generator) -> None:
    with pytest.raises(UserError, match=message):
        generating.request("unseen", options=SeasOptions(prompt=prompt))


def test_a_defects_own_prompt_gives_its_pair(generating: Generator) -> None:
    text = generating.manifest.prompts["chip"]
    (plain,) = generating.generate("chip", 1, 3, gate=False)
    (asked,) = generating.generate("chip", 1, 3, gate=False, options=SeasOptions(prompt=text))
    assert np.abs(plain.image.astype(int) - asked.image).max() <= 1
    (mixed,) = generating.generate("unseen", 1, 3, gate=False, options=SeasOptions(prompt=MIXED))
    assert np.abs(plain.image.astype(int) - mixed.image).max() > 1
    assert mixed.record.to_dict()["options"] == {"prompt": MIXED}
    assert "options" not in plain.record.to_dict()


@pytest.mark.parametrize("name", ["all", "unconditional", "a/b", "con", ""])
def test_pairs_of_a_prompt_have_a_folders_name(name: str, generating: Generator) -> None:
    with pytest.raises(UserError, match="expected a name usable as a folder"):
        generating.request(name, options=SeasOptions(prompt=MIXED))


def test_the_negative_prompt_is_what_guidance_leads_away_from(generating: Generator) -> None:
    """With the defect's own prompt on both sides guidance changes nothing."""
    text = generating.manifest.prompts["chip"]
    options = SeasOptions(negative_prompt=text)
    high, low = (
        next(iter(generating.generate("chip", 1, gate=False, guidance=scale, options=options)))
        for scale in (9.0, 2.0)
    )
    assert np.abs(high.image.astype(int) - low.image).max() <= 1
    with pytest.raises(UserError, match="negative_prompt: has no effect with guidance 1"):
        generating.request("chip", guidance=1.0, options=options)


def test_guidance_rescale_is_the_papers(generating: Generator, checkpoint: Checkpoint) -> None:
    random = torch.Generator().manual_seed(0)
    guided, conditional = (torch.randn(3, 4, 8, 8, generator=random) * scale for scale in (5.0, 1.2))
    theirs = rescale_noise_cfg(guided, conditional, guidance_rescale=0.7)
    assert torch.allclose(rescaled(guided, conditional, 0.7), theirs, atol=1e-5)
    loop = ReferenceLoop(checkpoint, STEPS, rescale=0.7, add_noise_step=1000)
    (expected,) = loop.generate("chip", 1, 2)
    (made,) = generating.generate("chip", 1, 2, gate=False, options=SeasOptions(guidance_rescale=0.7))
    assert psnr(squared_error(made.image, expected.image), made.image.size) >= 50
    (plain,) = generating.generate("chip", 1, 2, gate=False)
    assert np.abs(plain.image.astype(int) - made.image).max() > 1


def test_a_start_from_noise_alone(generating: Generator, exported: ExportResult) -> None:
    """Works for every bundle: its pool of references is left aside."""
    for ours in (generating, Generator.open(exported.bundle, threads=1)):
        request = ours.request("chip", 5, gate=False, options=SeasOptions(start="noise"))
        from seas_runtime.methods.request import PairRequest

        given = ours._loop.prepare([PairRequest(request, 4)], 0)
        latent = ours.manifest.latent
        shape = (latent.channels, latent.height, latent.width)
        expected = PairNoise(5, 4, 0, "chip", 2).normal(Stream.START, shape)
        assert np.array_equal(given.values["latents"][0], expected)
        assert given.origins == ({"reference": None},)


def test_add_noise_step_is_where_references_are_noised_to(own: Path, checkpoint: Checkpoint) -> None:
    bundle = Bundle.read(own)
    assert bundle.manifest.generation["add_noise_step"] == 1000
    kept = float(checkpoint.scheduler.alphas_cumprod[-1])  # not stretched: the base's own last step
    for schedule in bundle.schedules.values():
        assert np.abs(schedule.start - np.sqrt([kept, 1 - kept])).max() <= 1e-6


def test_bundles_without_them_say_what_to_do(exported: ExportResult) -> None:
    plain = Generator.open(exported.bundle, threads=1)
    with pytest.raises(UserError, match="this bundle has no tokenizer; export it again with --own-prompts"):
        plain.request("unseen", options=SeasOptions(prompt=MIXED))
    with pytest.raises(UserError, match=r"does not take it; export the bundle again with --guidance-rescale"):
        plain.request("chip", options=SeasOptions(guidance_rescale=0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance_rescale": 1.5}, "guidance_rescale: expected a number from 0.0 to 1.0"),
        ({"start": "photo"}, "start: expected one of reference, noise, found 'photo'"),
        ({"negative_prompt": ""}, "negative_prompt: expected text that is not empty"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SeasOptions(**options)


def test_generate_by_the_command_line(
    own: Path, exported: ExportResult, checkpoint_folder: Path, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    words = ("generate", own, "--out", out, "--count", 1, "--no-gate", "--prompt", MIXED)
    ended = run(*words, "--negative-prompt", "a <ob>", "--start", "noise", "--guidance-rescale", "0.3")
    assert ended.code == 0, ended.err
    assert (out / "test/unseen/000000.png").is_file()
    asked = {"prompt": MIXED, "negative_prompt": "a <ob>", "start": "noise", "guidance_rescale": 0.3}
    assert json.loads((out / "dataset.json").read_text())["options"] == asked
    again = run("generate", own, "--out", out, "--count", 1, "--no-gate", "--defect", "chip")
    assert again.code == 2
    assert "another" in again.err
    assert "--defect" in run("generate", own, "--out", out).err
    # A bundle without a tokenizer, by its checkpoint.
    words = ("generate", exported.bundle, "--out", tmp_path / "other", "--count", 1, "--no-gate")
    ended = run(*words, "--prompt", MIXED, "--checkpoint", checkpoint_folder)
    assert ended.code == 0, ended.err


def test_a_hostile_tokenizer_is_refused(own: Path) -> None:
    table = Bundle.read(own).tables["tokenizer"]["json"]
    values = json.loads(table.tobytes())
    bad: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
        (lambda v: v.update(vocabulary=[]), "vocabulary: expected an object"),
        (lambda v: v.update(vocabulary={"a": -1}), "vocabulary: expected ids from 0"),
        (lambda v: v.update(merges=[["a"]]), "merges: expected pairs of texts"),
        (lambda v: v.update(more=1), "unknown key 'more'"),
        (lambda v: v.pop("start"), "'start' is missing"),
    ]
    for change, message in bad:
        spoilt = json.loads(json.dumps(values))
        change(spoilt)
        with pytest.raises(UserError, match=message):
            read_tokenizer({"json": np.frombuffer(json.dumps(spoilt).encode(), np.uint8)}, "here")
    with pytest.raises(UserError, match="here: expected the tensor 'json'"):
        read_tokenizer({"json": table.astype(np.int64)}, "here")
