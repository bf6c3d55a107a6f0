"""AnomalyDiffusion end to end on the tiny base, and its rules against their formulas."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from seas_engines.building.prepare import Preparer
from seas_engines.targets.dialect import dialect_of
from seas_engines.targets.targets import Precision, Target
from seas_export.export import export_bundle
from seas_export.graphs.schedules import DDIM_ETA1, make_schedule, make_scheduler
from seas_export.methods.anomalydiffusion.reweighting import AuthorsWeights, PaperWeights, ReweightedUNet
from seas_export.placing.generated import masks_beside, write_masks
from seas_runtime import Generator, Placing
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.manifest.types import STEP_UNGUIDED
from seas_runtime.methods.anomalydiffusion import method as runtime
from seas_runtime.methods.anomalydiffusion.masks import MODEL, cut
from seas_runtime.methods.anomalydiffusion.options import STEP_AUTHORS, STEP_PAPER, AnomalyDiffusionOptions
from seas_runtime.methods.anomalydiffusion.reweighting import grown, growth
from seas_train import load_checkpoint
from seas_train.bases.base import load_base
from seas_train.methods.anomalydiffusion.config import Encoder, TrainConfig
from seas_train.methods.anomalydiffusion.encoder import make_encoder
from seas_train.methods.anomalydiffusion.model import context_model, contexts
from seas_train.methods.anomalydiffusion.variants import augment
from seas_train.methods.inpainting.words import encode_rows, template
from tests.bases import write_tiny_base
from tests.methods.trained import build_for_rtx, needs_rtx, train_tiny

OPTIONS: dict[str, Any] = {
    "anomalydiffusion": {"steps": 2, "variants": 3, "anomaly_tokens": 4},
    "masks": {"steps": 2},
    "generation": {"reweight": "authors", "guidance": 1.0},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return train_tiny(tmp_path_factory.mktemp("anomalydiffusion"), "anomalydiffusion", OPTIONS)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its parity compares every graph, and pairs that are re-weighted, with PyTorch by the formulas."""
    result = export_bundle(checkpoint, tmp_path_factory.mktemp("ad_bundle") / "bundle", steps=10)
    assert result.parity is not None
    assert result.parity.passed
    assert result.parity.placed
    graphs = {row.graph for row in result.parity.graphs}
    assert {"context", "step_reweighted", "step_reweighted_pixels"} <= graphs
    return result.bundle


@pytest.fixture(scope="module")
def generator(bundle: Path) -> Generator:
    return Generator.open(bundle, threads=1)


def test_pairs_follow_their_masks(generator: Generator) -> None:
    defaults = generator.manifest.sampler
    assert (defaults.name, defaults.steps, defaults.guidance) == ("ddim_eta1", 10, 1.0)
    made = list(generator.generate("spot", 3, batch=2, placing=Placing(), gate=False))
    assert all(pair.mask.any() for pair in made)
    assert "context" in made[0].record.times.graphs
    again = list(generator.generate("spot", 3, batch=3, placing=Placing(), gate=False))
    for one, other in zip(made, again, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1


def test_engines_are_measured(bundle: Path, tmp_path: Path) -> None:
    """Half precision of each graph, and of whole pairs, as for engines of RTX."""
    opened = Bundle.read(bundle)
    graphs = runtime.METHOD.graphs_of(opened.manifest)
    preparer = Preparer(opened, dialect_of(Target.RTX, "1.7"), Precision.FP16, tmp_path, threads=1)
    chosen = preparer.choose(graphs, {})
    assert set(chosen) == {*graphs} >= {"context", STEP_AUTHORS, STEP_PAPER}
    assert chosen["step"]["loop"]["psnr"] >= 30
    for graph in graphs:
        assert preparer.prepare(graph, chosen[graph]).file.is_file()


@pytest.mark.parametrize("form", ["authors", "paper"])
def test_reweighting_changes_pairs_inside_their_masks(generator: Generator, form: str) -> None:
    photograph = generator.backgrounds[0].pixels
    mask = np.zeros(photograph.shape[:2], np.bool_)
    mask[20:44, 16:48] = True
    made = {}
    for how, graph in ("off", STEP_UNGUIDED), (form, {"authors": STEP_AUTHORS, "paper": STEP_PAPER}[form]):
        options = AnomalyDiffusionOptions(reweight=how)
        sampling = generator.request("spot", options=options).sampling
        assert runtime.METHOD.step_graph(generator.manifest, sampling, options) == graph
        made[how] = generator.place(photograph, "spot", mask, gate=False, options=options).image
    assert not np.array_equal(made["off"], made[form])
    assert np.array_equal(made[form][:4], photograph[:4])


def test_reweighting_and_guidance_are_refused_together(generator: Generator) -> None:
    with pytest.raises(UserError, match="steps with re-weighted attention have no guidance"):
        generator.request("spot", options=AnomalyDiffusionOptions(reweight="authors"), guidance=3.0)
    with pytest.raises(UserError, match="reweight: expected one of authors, paper, off"):
        AnomalyDiffusionOptions(reweight="always")


def test_openvino_makes_the_same_pairs(bundle: Path, generator: Generator) -> None:
    pytest.importorskip("openvino")
    other = Generator.open(bundle, "openvino:fp32", threads=1)
    (one,) = generator.generate("dark_line", 1, placing=Placing(), gate=False)
    (two,) = other.generate("dark_line", 1, placing=Placing(), gate=False)
    assert np.abs(one.image.astype(int) - two.image).max() <= 1


def test_the_context_is_of_the_defect_and_the_mask(checkpoint: Path) -> None:
    """The template has the defect's tokens, then the mask's, in its places."""
    loaded = load_checkpoint(checkpoint)
    model = context_model(loaded)
    tokens = loaded.artifacts["anomaly_tokens"]["spot"][None]
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 10:30, 40:60] = 1
    with torch.inference_mode():
        made = model(tokens, mask)
        rows = torch.cat([tokens, model.encoder(mask)], dim=1)[0]
        embedding = loaded.text_encoder.get_input_embeddings()
        ids = template(loaded.tokenizer, len(rows), loaded.geometry.context_length)
        whole = embedding(ids)
        whole[1 : 1 + len(rows)] = rows
        table = torch.nn.Embedding.from_pretrained(torch.cat([embedding.weight, whole]))
        loaded.text_encoder.set_input_embeddings(table)
        first = len(embedding.weight)
        expected = loaded.text_encoder(torch.arange(first, first + len(ids))[None])[0]
    assert torch.allclose(made, expected, atol=1e-5)
    with torch.inference_mode():
        assert not torch.allclose(made, model(tokens, torch.roll(mask, 20, dims=3)), atol=1e-5)


def test_contexts_of_all_defects_are_finite(checkpoint: Path) -> None:
    made = contexts(load_checkpoint(checkpoint))
    assert set(made) == {"good", "dark_line", "spot", "unconditional"}
    assert all(bool(value.isfinite().all()) for value in made.values())


def test_doubled_attention_is_reweighted_attention(tmp_path: Path) -> None:
    base = load_base(write_tiny_base(tmp_path / "base"))
    columns = range(1, 9)
    doubled, plain = (ReweightedUNet(base.unet, columns, plain=plain).eval() for plain in (False, True))
    latents, context = torch.randn(2, 4, 8, 8), torch.randn(2, 16, 16)
    logits, rows = 1 + 0.5 * torch.rand(2, 1, 8, 8), 2 * torch.rand(2, 1, 8, 8)
    given = (latents, torch.tensor([500.0]), context)
    with torch.inference_mode():
        for one, other in zip(doubled(*given, logits, rows), plain(*given, logits, rows), strict=True):
            assert torch.allclose(one, other, atol=1e-5)
        ones = torch.ones(2, 1, 8, 8)
        expected = base.unet(latents, 500, context).sample
        assert torch.allclose(doubled(*given, ones, ones)[0], expected, atol=1e-5)
        assert not torch.allclose(doubled(*given, logits, ones)[0], expected, atol=1e-4)


def weights_by_formula(difference: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """|m|_1 softmax(f) over the pixels [h, w], f = 1 / d and -inf where d = 0, in float64."""
    score = np.full(difference.shape, -np.inf)
    score[difference > 0] = 1 / difference[difference > 0]
    share = np.exp(score - score.max())
    return mask.sum() * share / share.sum()


def test_the_authors_weights_are_their_formula() -> None:
    latents, noised = 3 * torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, 2:6, 3:7] = 1
    made = AuthorsWeights()(latents, noised, mask)
    for row in range(2):
        seen = mask[row, 0].double().numpy()
        apart = ((mask[row] * (latents[row] - noised[row])).double() ** 2).mean(0).numpy()
        expected = np.where(seen > 0, weights_by_formula(apart, seen).clip(1, 1.5), 1)
        assert np.abs(made[row, 0].numpy() - expected).max() < 1e-5
    assert bool((made != 1).any())
    same = AuthorsWeights()(noised, noised, mask)
    assert bool(same.isfinite().all())


def test_the_papers_weights_are_their_formula() -> None:
    photograph = torch.rand(2, 3, 32, 32) * 2 - 1
    decoded = photograph + torch.randn(2, 3, 32, 32)
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 4:20, 6:30] = 1
    made = PaperWeights(4)(decoded, photograph, mask, torch.tensor([3]))
    for row in range(2):
        seen = mask[row, 0].double().numpy()
        apart = ((mask[row] * (photograph[row] - decoded[row])).double() ** 2).mean(0).numpy()
        whole = weights_by_formula(apart, seen)
        assert whole[seen == 0].max() == 0
        expected = whole.reshape(8, 4, 8, 4).mean(axis=(1, 3))
        assert np.abs(made[row, 0].numpy() - expected).max() < 1e-5 * max(1.0, expected.max())
    first = PaperWeights(4)(decoded, photograph, mask, torch.tensor([0]))
    assert bool((first == 1).all())


def test_masks_grow_with_the_noise() -> None:
    assert [growth(step, 32) for step in (0, 24, 25, 999)] == [0, 0, 1, 8]
    mask = np.zeros((1, 1, 8, 8), np.float32)
    mask[0, 0, 3, 4] = 1
    expected = functional.max_pool2d(torch.from_numpy(mask), 5, stride=1, padding=2)
    assert np.array_equal(grown(mask, 2), expected.numpy())


def test_the_schedule_is_diffusers_ddim_with_eta_1(checkpoint: Path) -> None:
    config = load_checkpoint(checkpoint).scheduler.config
    table = make_schedule(DDIM_ETA1, config, 20).table
    solver = make_scheduler(DDIM_ETA1, config, 20)
    x = torch.randn(1, 4, 4, 4)
    for row, timestep in zip(table, solver.timesteps, strict=True):
        _, _, p, q, a, b, _, d = row.tolist()
        eps, fresh = torch.randn(1, 4, 4, 4), torch.randn(1, 4, 4, 4)
        expected = solver.step(eps, timestep, x, eta=1.0, variance_noise=fresh).prev_sample
        made = a * x + b * (p * x + q * eps) + d * fresh
        assert torch.allclose(made, expected, atol=1e-5 * float(expected.abs().max()))
        x = expected


def test_masks_are_cut_and_judged() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    assert cut(picture)[1] == "empty"
    picture[10:20, 10:20] = 255
    picture[12, 12] = (255, 255, 50)  # its mean is below 0.8
    mask, reason = cut(picture)
    assert reason is None
    assert mask.sum() == 99
    picture[:, 0] = 255
    assert cut(picture)[1] == "over a third of a border row is set"


def test_masks_are_generated_as_large_as_in_photographs(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an untrained model makes is no mask: its cut is replaced, all else is as it runs."""
    shape = np.zeros((64, 64), np.bool_)
    shape[5:20, 30:50] = True
    scale = Bundle.read(bundle).manifest.generation["mask_scale"]
    with monkeypatch.context() as patch:
        model = replace(MODEL, cut=lambda picture: (shape, None))
        patch.setattr(runtime, "METHOD", replace(runtime.METHOD, mask_model=model))
        made = write_masks(bundle, tmp_path / "masks", ["spot"], 2)
    assert (made.defects[0].accepted, made.defects[0].first_try) == (2, 2)
    beside = ("generated", "auto", bundle, tmp_path / "set")
    (tmp_path / "masks").rename(tmp_path / "set-masks")
    kept = tmp_path / "set-masks"
    assert masks_beside(*beside, ["spot", "good"], 2, "cpu", print) == str(kept)
    with pytest.raises(UserError, match="no masks of dark_line; remove"):
        masks_beside(*beside, ["dark_line"], 2, "cpu", print)
    record = json.loads((kept / "masks.json").read_text())
    (kept / "masks.json").write_text(json.dumps({**record, "bundle": "another"}))
    with pytest.raises(UserError, match="expected masks of this bundle, found others"):
        masks_beside(*beside, ["spot"], 2, "cpu", print)
    with pytest.raises(UserError, match="--masks: expected generated, found 'drawn'"):
        masks_beside("drawn", *beside[1:], ["spot"], 2, "cpu", print)
    side = round(64 * scale)
    assert Image.open(kept / "spot/000001.png").size == (side, side)
    with monkeypatch.context() as patch:
        model = replace(MODEL, cut=lambda picture: (shape, "empty"))
        patch.setattr(runtime, "METHOD", replace(runtime.METHOD, mask_model=model))
        with pytest.raises(CheckFailed, match="none of 1 passed; most often: empty"):
            write_masks(bundle, tmp_path / "other", ["spot"], 1)
    assert not (tmp_path / "other").exists()
    with pytest.raises(UserError, match=r"masks: expected one of .*, found 'good'"):
        write_masks(bundle, tmp_path / "other", ["good"], 1)


def test_what_has_no_mask_model_refuses_masks(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    import shutil

    from seas_runtime.bundle.reading import hash_files, write_manifest

    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    manifest = Bundle.read(copy).manifest
    (copy / manifest.tables["mask_embeddings"]).unlink()
    tables = {name: file for name, file in manifest.tables.items() if name != "mask_embeddings"}
    write_manifest(copy, replace(manifest, tables=tables, files=hash_files(copy)))
    with pytest.raises(UserError, match="trained without a mask model"):
        write_masks(copy, tmp_path / "masks", ["spot"], 1)


def test_augmented_pairs_keep_their_masks() -> None:
    config = TrainConfig().anomalydiffusion
    image, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 28:40, 20:44] = 1
    assert augment(image, mask, config, 0, 0)[1] is mask
    seen = [augment(image, mask, config, 5, variant) for variant in range(1, 12)]
    for turned, marked in seen:
        assert float(marked.sum()) >= 0.97 * float(mask.sum())
        assert turned.shape == image.shape
    assert len({round(float(marked.sum())) for _, marked in seen}) > 3
    marks = mask.expand(-1, 3, -1, -1)
    turned, marked = augment(marks, mask, config, 5, 3)
    assert float((turned[:, :1] - marked).abs().mean()) < 0.02


@pytest.mark.parametrize("kind", list(Encoder))
def test_encoders_tell_where_a_mask_is(kind: Encoder) -> None:
    encoder = make_encoder(kind, 4, 16, 64).eval()
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, 4:20, 4:20], mask[1, :, 40:56, 40:56] = 1, 1
    with torch.inference_mode():
        both = encoder(mask)
        assert both.shape == (2, 4, 16)
        assert torch.allclose(encoder(mask[:1]), both[:1], atol=1e-5)  # no norm over the batch
        assert float((both[0] - both[1]).abs().max()) > 1e-4


def test_whose_rules(tmp_path: Path) -> None:
    base = load_base(write_tiny_base(tmp_path / "base"))
    paper, authors = (TrainConfig.for_base(base, 3, rules) for rules in ("paper", "authors"))
    assert paper.generation.guidance == 6.0  # of a base as small as micro
    assert (paper.anomalydiffusion.anomaly_tokens, authors.anomalydiffusion.anomaly_tokens) == (8, 4)
    assert (paper.masks.tokens, paper.masks.start) == (4, "random")
    assert (authors.masks.tokens, authors.masks.start) == (16, "crack")
    with pytest.raises(UserError, match="expected at most 14 tokens between start and end, found 16"):
        template(base.tokenizer, 16, 16)
    rows = torch.randn(2, 3, 16)
    states = encode_rows(base.text_encoder, template(base.tokenizer, 3, 16), rows)
    assert states.shape == (2, 16, 16)


@needs_rtx
def test_rtx_engines_are_built_of_all_that_generation_runs(bundle: Path, tmp_path: Path) -> None:
    """Of every step, the spatial context and both codecs, in half precision."""
    graphs = (
        "step",
        "step_unguided",
        "step_reweighted",
        "step_reweighted_pixels",
        "context",
        "decode_image",
        "encode_image",
    )
    assert build_for_rtx(bundle, tmp_path) == dict.fromkeys(graphs, "fp16")
