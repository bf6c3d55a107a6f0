"""AnomalyXFusion end to end on the tiny base, and its rules against their formulas."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seas_engines.building.prepare import Preparer
from seas_engines.targets.dialect import dialect_of
from seas_engines.targets.targets import Precision, Target
from seas_export.cli.options import method_files
from seas_export.export import export_bundle
from seas_runtime import Generator, Placing
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.methods.anomalyxfusion.method import METHOD, AnomalyXFusionOptions, feature
from seas_train import load_checkpoint
from seas_train.bases.base import load_base
from seas_train.data import Product, load_product
from seas_train.methods.anomalyxfusion.captions import default_sentence, read_captions, sentence_of
from seas_train.methods.anomalyxfusion.config import TrainConfig
from seas_train.methods.anomalyxfusion.features import sentence_features, texture_features
from seas_train.methods.anomalyxfusion.fusion import Fusion, TimeFusion, norm_loss
from seas_train.methods.anomalyxfusion.training import METHOD as METHOD_TRAINED
from seas_train.methods.anomalyxfusion.training import FusionStage, defaults
from seas_train.settings import parse_assignments
from tests.bases import IMAGE_SIZE, write_tiny_base
from tests.methods.trained import build_for_rtx, needs_rtx, train_tiny
from tests.products import write_tiny_product

OPTIONS: dict[str, Any] = {"anomalyxfusion": {"steps": 2, "tokens": 2, "heads": 2, "word": "a"}}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("anomalyxfusion")
    (folder / "plate/captions/Spot").mkdir(parents=True)
    (folder / "plate/captions/Spot/000.txt").write_text("a white dot\n")
    return train_tiny(folder, "anomalyxfusion", OPTIONS)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its parity compares the table of contexts, and whole loops, with PyTorch step by step."""
    result = export_bundle(checkpoint, tmp_path_factory.mktemp("axf_bundle") / "bundle", steps=10)
    assert result.parity is not None
    assert result.parity.passed
    rows = {row.graph: row for row in result.parity.graphs}
    assert rows["context"].relative <= 1e-5
    assert {"step", "step_unguided"} <= set(rows)
    return result.bundle


@pytest.fixture(scope="module")
def generator(bundle: Path) -> Generator:
    return Generator.open(bundle, threads=1)


def test_pairs_are_drawn_by_sentence_texture_and_mask(generator: Generator) -> None:
    assert generator.manifest.prompts == {
        "good": "plate",
        "dark_line": "plate with dark line",
        "spot": "a white dot",
    }
    made = list(generator.generate("spot", 2, batch=2, placing=Placing(), gate=False))
    assert all(pair.mask.any() for pair in made)
    assert "context" in made[0].record.times.graphs
    (one,) = generator.generate("spot", 1, placing=Placing(), gate=False)
    assert np.abs(one.image.astype(int) - made[0].image).max() <= 1


def test_engines_are_measured(bundle: Path, tmp_path: Path) -> None:
    """Half precision of each graph, and of whole pairs, as for engines of RTX."""
    opened = Bundle.read(bundle)
    preparer = Preparer(opened, dialect_of(Target.RTX, "1.7"), Precision.FP16, tmp_path, threads=1)
    chosen = preparer.choose(METHOD.graphs, {})
    assert set(chosen) == {*METHOD.graphs}
    assert chosen["step"]["loop"]["psnr"] >= 30
    for graph in METHOD.graphs:
        assert preparer.prepare(graph, chosen[graph]).file.is_file()


def test_a_caption_at_the_edge_is_encoded_as_in_training(generator: Generator, checkpoint: Path) -> None:
    options = AnomalyXFusionOptions(caption="a dark hole")
    request = generator.request("spot", options=options)
    assert request.options.caption == "a dark hole"
    loaded = load_checkpoint(checkpoint)
    expected = sentence_features(
        loaded.tokenizer, loaded.text_encoder, ["a dark hole"], loaded.geometry.context_length
    )[0]
    assert np.abs(feature(generator.bundle, "a dark hole") - expected.numpy()).max() < 1e-5
    (one,) = generator.generate("spot", 1, placing=Placing(), gate=False, options=options)
    (other,) = generator.generate("spot", 1, placing=Placing(), gate=False)
    assert one.record.to_dict()["options"] == {"caption": "a dark hole"}
    assert not np.array_equal(one.image, other.image)
    with pytest.raises(UserError, match="caption: expected text that is not empty"):
        AnomalyXFusionOptions(caption=" ")


def test_openvino_makes_the_same_pairs(bundle: Path, generator: Generator) -> None:
    pytest.importorskip("openvino")
    other = Generator.open(bundle, "openvino:fp32", threads=1)
    (one,) = generator.generate("dark_line", 1, placing=Placing(), gate=False)
    (two,) = other.generate("dark_line", 1, placing=Placing(), gate=False)
    assert np.abs(one.image.astype(int) - two.image).max() <= 1


def test_guidance_leads_away_from_the_empty_sentence(generator: Generator) -> None:
    """Of a base as small as this one; its loops were compared with PyTorch."""
    assert generator.manifest.sampler.guidance == 5
    (own,) = generator.generate("spot", 1, placing=Placing(), gate=False)
    (none,) = generator.generate("spot", 1, placing=Placing(), gate=False, guidance=1.0)
    assert none.record.to_dict()["guidance"] == 1.0
    assert not np.array_equal(own.image, none.image)


def test_fusion_is_its_formula() -> None:
    """e_X = e + MLP(self-attention(e)), head by head, in float64."""
    fusion = Fusion(2, 8, 2).double().eval()
    sentence, textures = torch.randn(3, 8).double(), torch.randn(3, 2, 8).double()
    mask = (torch.rand(3, 1, 64, 64) < 0.3).double()
    with torch.inference_mode():
        made = fusion(sentence, textures, mask)
        place = fusion.place(mask)
        for b in range(3):
            e = torch.stack([sentence[b], sentence[b], *place[b], *textures[b]])  # [6, 8]
            q, k, v = (layer(e) for layer in (fusion.query, fusion.key, fusion.value))
            heads = []
            for first in (0, 4):
                own = slice(first, first + 4)
                logits = q[:, own] @ k[:, own].T / math.sqrt(4)
                shares = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
                heads.append(shares @ v[:, own])
            expected = e + fusion.mlp(torch.cat(heads, dim=1))
            assert torch.allclose(made[b], expected, atol=1e-5)


def test_the_time_is_its_formula_and_starts_as_nothing() -> None:
    time = TimeFusion(8).double().eval()
    fused, timesteps = torch.randn(2, 6, 8).double(), torch.tensor([0.0, 731.0]).double()
    with torch.inference_mode():
        assert torch.equal(time(fused, timesteps), fused)
        torch.nn.init.normal_(time.mlp[2].weight)  # type: ignore[arg-type]
        made = time(fused, timesteps)
        for b in range(2):
            angles = [float(timesteps[b]) * 10_000 ** (-place / 64) for place in range(64)]
            waves = [*map(math.sin, angles), *map(math.cos, angles)]
            lifted = time.lift(torch.tensor(waves, dtype=torch.float64))
            for token in range(6):
                expected = fused[b, token] + time.mlp(torch.cat([fused[b, token], lifted]))
                assert torch.allclose(made[b, token], expected, atol=1e-4)
        assert not torch.allclose(made[0], made[1])


def test_the_loss_is_a_norm() -> None:
    eps, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    norms = [float((noise[b] - eps[b]).norm()) / math.sqrt(256) for b in range(2)]
    assert float(norm_loss(eps, noise)) == pytest.approx(sum(norms) / 2, abs=1e-5)


def test_what_lies_in_masks_can_count_more() -> None:
    eps, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    inside = torch.zeros(2, 1, 8, 8)
    inside[:, :, :2] = 1
    weighted = norm_loss(eps, noise, 1 + 29 * inside)
    squared = (noise - eps) ** 2
    wanted = [
        math.sqrt(float(30 * one[:, :2].sum() + one[:, 2:].sum()) / (4 * 8 * (2 * 30 + 6))) for one in squared
    ]
    assert float(weighted) == pytest.approx(sum(wanted) / 2, abs=1e-5)
    assert float(norm_loss(eps, noise, torch.full((2, 1, 8, 8), 7.0))) == pytest.approx(
        float(norm_loss(eps, noise)), abs=1e-5
    )


def write_product(folder: Path) -> Product:
    return load_product(write_tiny_product(folder / "plate"), size=IMAGE_SIZE)


def test_sentences_are_read_from_folders_csv_and_json(tmp_path: Path) -> None:
    product = write_product(tmp_path)
    assert read_captions(product, None) == {}
    assert sentence_of({}, product, 1) == "plate with Spot"
    assert default_sentence("metal_nut", "bent_pin") == "metal nut with bent pin"
    (line, _), (spot, _) = (sorted(defect.train, key=lambda pair: pair.image) for defect in product.defects)
    folder = product.root / "prompt/Spot"
    folder.mkdir(parents=True)
    (folder / f"{spot.image.stem}.txt").write_text("  a bright\n square ")
    assert read_captions(product, None) == {spot.image: "a bright square"}
    table = tmp_path / "said.csv"
    table.write_text(f"defect,image,caption\ndark_line,{line.image.name},a dark line\n")
    assert read_captions(product, table) == {line.image: "a dark line"}
    values = tmp_path / "said.json"
    values.write_text(json.dumps({"Spot": {spot.image.stem: "white"}}))
    found = read_captions(product, values)
    assert found == {spot.image: "white"}
    assert sentence_of(found, product, 1) == "white"


def test_sentences_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    product = write_product(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        read_captions(product, tmp_path / "none")
    table = tmp_path / "said.csv"
    table.write_text("picture,words\n1,2\n")
    with pytest.raises(UserError, match="expected the columns defect, image and caption"):
        read_captions(product, table)
    values = tmp_path / "said.json"
    values.write_text('["a"]')
    with pytest.raises(UserError, match=r"expected \{defect: \{number: sentence\}\}"):
        read_captions(product, values)
    values.write_text(json.dumps({"Spot": {"0": " "}}))
    with pytest.raises(UserError, match="expected a sentence of at most 1000 characters"):
        read_captions(product, values)


def write_encoder(folder: Path) -> Path:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def test_other_sentences_and_encoders_are_another_training(tmp_path: Path) -> None:
    product, encoder = write_product(tmp_path), write_encoder(tmp_path / "clip")
    table = tmp_path / "said.json"
    spot = product.defects[1].train[0].image
    table.write_text(json.dumps({"Spot": {spot.stem: "white"}}))
    words = [f"anomalyxfusion.captions={table}", f"anomalyxfusion.image_encoder={encoder}"]
    given = method_files("anomalyxfusion", captions=table, image_encoder=encoder)
    assert given == parse_assignments(words)
    config = TrainConfig().updated(given)
    first = METHOD_TRAINED.read(product, config)
    assert first["captions"] == {f"Spot/{spot.name}": "white"}
    assert METHOD_TRAINED.read(product, config) == first
    table.write_text(json.dumps({"Spot": {spot.stem: "grey"}}))
    second = METHOD_TRAINED.read(product, config)
    assert second["captions"] != first["captions"]
    (encoder / "model.safetensors").write_bytes(b"others")
    assert METHOD_TRAINED.read(product, config)["image_encoder"] != first["image_encoder"]
    with pytest.raises(UserError, match="--captions: method anogen reads no such files"):
        method_files("anogen", captions=table)


def test_textures_of_a_training_start_from_the_encoder(tmp_path: Path) -> None:
    base, product = load_base(write_tiny_base(tmp_path / "base")), write_product(tmp_path)
    folder = write_encoder(tmp_path / "clip")
    config = TrainConfig().updated(
        {"anomalyxfusion": {"image_encoder": str(folder), "heads": 2, "word": "a"}}
    )
    made = FusionStage(product, base, config.anomalyxfusion).module.textures
    words = config.updated({"anomalyxfusion": {"image_encoder": None}})
    others = FusionStage(product, base, words.anomalyxfusion).module.textures
    assert made.shape == others.shape
    assert not torch.allclose(made, others)
    assert not torch.allclose(made[0], made[1])  # a defect's own
    assert torch.allclose(others[0], others[1])  # the word's


def test_textures_start_from_clips_image_tower(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "clip")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[10:30, 10:30] = True
    made = texture_features(folder, [image], [mask], 16)
    changed = image.copy()
    changed[40:] = 255 - changed[40:]  # outside of the mask
    assert torch.allclose(texture_features(folder, [changed], [mask], 16), made)
    assert not torch.allclose(texture_features(folder, [255 - image], [mask], 16), made)
    with pytest.raises(UserError, match="expected features as wide as the base's contexts, 768, found 16"):
        texture_features(folder, [image], [mask], 768)
    with pytest.raises(UserError, match=r"found no config\.json"):
        texture_features(tmp_path, [image], [mask], 16)


def test_the_authors_code_has_no_rules_to_reproduce(tmp_path: Path) -> None:
    base, product = load_base(write_tiny_base(tmp_path / "base")), write_product(tmp_path)
    with pytest.raises(UserError, match="neither of AnomalyXFusion's modules"):
        defaults(base, product, "authors")
    assert defaults(base, product, "paper") == defaults(base, product, None)


@needs_rtx
def test_rtx_engines_are_built_of_all_that_generation_runs(bundle: Path, tmp_path: Path) -> None:
    """Of step, contexts of all steps and both codecs, in half precision."""
    graphs = ("step", "step_unguided", "context", "decode_image", "encode_image")
    assert build_for_rtx(bundle, tmp_path) == dict.fromkeys(graphs, "fp16")
