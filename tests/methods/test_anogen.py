"""AnoGen end to end on the tiny base, and its rules against their formulas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seas_export.export import export_bundle
from seas_runtime import DatasetRequest, Generator, Placing, write_dataset
from seas_runtime.bundle.reading import Bundle
from seas_runtime.dataset.formats.convert import convert_dataset
from seas_runtime.errors import UserError
from seas_runtime.methods.request import PLACED, REFINED
from seas_runtime.placement.options import BOXES, PlacementOptions, parse_background
from seas_train import load_checkpoint
from seas_train.bases.base import load_base
from seas_train.data import load_product
from seas_train.methods.anogen.config import Embedding, TrainConfig
from seas_train.methods.anogen.model import EmbeddingModel, contexts
from seas_train.methods.anogen.training import AnoGenStage
from seas_train.methods.anogen.weak import weak_supervision_loss
from seas_train.methods.inpainting.data import with_shots
from seas_train.methods.inpainting.losses import latent_masks, masked_noise_loss
from seas_train.training.random import step_random
from tests.bases import IMAGE_SIZE, write_tiny_base
from tests.methods.trained import build_for_rtx, needs_rtx, train_tiny
from tests.products import write_tiny_product

BOXED = Placing(PlacementOptions(source=BOXES))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return train_tiny(tmp_path_factory.mktemp("anogen"), "anogen", {"anogen": {"steps": 4}})


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = export_bundle(checkpoint, tmp_path_factory.mktemp("anogen_bundle") / "bundle")
    assert result.parity is not None
    assert result.parity.passed
    return result.bundle


@pytest.fixture(scope="module")
def generator(bundle: Path) -> Generator:
    return Generator.open(bundle, threads=1)


def test_pairs_are_drawn_into_boxes_and_weakly_labelled(generator: Generator, tmp_path: Path) -> None:
    schedule = generator.manifest.sampler
    assert (schedule.name, schedule.steps, schedule.guidance) == ("ddim", 50, 2.0)  # of a small base
    request = DatasetRequest(("spot", "good"), 2, placing=BOXED)
    write_dataset(generator, request, tmp_path / "set", force=False)
    records = [json.loads(line) for line in (tmp_path / "set/records.jsonl").read_text().splitlines()]
    assert [record.get("weak") for record in records] == [True, True, None, None]
    made = list(generator.generate("spot", 2, placing=BOXED, gate=False))
    for pair in made:
        rows, columns = np.nonzero(pair.mask)
        box = pair.mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (box == 255).all()
        assert pair.record.weak
    (shaped,) = generator.generate("spot", 1, placing=Placing(), gate=False)
    assert not shaped.record.weak


def test_a_photograph_unlike_the_training_normals_is_told(
    generator: Generator, caplog: pytest.LogCaptureFixture
) -> None:
    """The bundle has the figures of the training normals, and warns of a dark one with them."""
    figures = generator.manifest.generation["normals"]
    photograph = generator.backgrounds[0]
    assert figures["width"][0] <= photograph.width <= figures["width"][1]
    assert figures["modes"] == [photograph.mode]
    generator.place(photograph.pixels, "spot", gate=False, placing=BOXED)
    assert "unlike the normals" not in caplog.text
    dark = photograph.pixels // 8
    generator.place(dark, "spot", gate=False, placing=BOXED)
    assert "unlike the normals that this bundle was trained on: a mean brightness of" in caplog.text


def test_of_a_folder_unlike_the_training_normals_a_few_are_named(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generator = Generator.open(bundle, threads=1)
    pixels = generator.backgrounds[0].pixels
    for number in range(6):
        Image.fromarray(pixels // (8 + number)).save(tmp_path / f"{number}.png")
    generator.draw_onto(tmp_path)
    made = list(generator.generate("spot", 12, placing=BOXED, gate=False))
    assert len({pair.record.origin["photograph"] for pair in made}) > 3
    told = [message for message in caplog.messages if "unlike the normals" in message]
    assert ["further ones are not named" in message for message in told] == [False, False, True]
    for number in range(5):
        generator.place(pixels // (20 + number), "spot", gate=False, placing=BOXED)
    assert len([message for message in caplog.messages if "unlike the normals" in message]) == 8


def test_boxes_a_photograph_and_pairs_a_box(generator: Generator) -> None:
    """2x2: pairs 0 to 3 share a photograph, 0 and 1 a box; the noise is each pair's own."""
    shared = Placing(PlacementOptions(source=BOXES, per_background=(2, 2)))
    made = list(generator.generate("spot", 8, batch=4, placing=shared, gate=False, steps=25))
    photographs = [pair.record.origin["photograph_sha256"] for pair in made]
    boxes = [str(pair.record.origin["placement"]) for pair in made]
    assert photographs == [photographs[0]] * 4 + [photographs[4]] * 4
    assert boxes == [boxes[number - number % 2] for number in range(8)]
    assert len(set(boxes)) == 4
    for number in range(0, 8, 2):
        assert not np.array_equal(made[number].image, made[number + 1].image)
    (again,) = generator.generate("spot", 1, start=5, placing=shared, gate=False, steps=25)
    assert again.record.origin == made[5].record.origin


def test_what_is_no_number_of_boxes(generator: Generator) -> None:
    for text in ("2", "2x", "ax2", "2x2x2"):
        with pytest.raises(UserError, match="--per-background: expected NxM, two numbers from 1 to 100"):
            parse_background(text)
    with pytest.raises(UserError, match="--per-background: expected NxM"):
        PlacementOptions(per_background=(0, 2))
    options = PlacementOptions(per_background=parse_background("2x3"))
    assert options.to_dict() == {"per_background": [2, 3]}
    assert PlacementOptions.from_dict(options.to_dict()) == options


def test_a_normal_is_its_photograph(generator: Generator) -> None:
    photograph = generator.backgrounds[0].pixels
    pair = generator.place(photograph, "good", gate=False, placing=BOXED)
    drawn = generator.place(photograph, "spot", gate=False, placing=BOXED)
    assert np.array_equal(pair.image, photograph)
    assert not np.array_equal(drawn.image, photograph)
    assert pair.record.accepted
    assert not pair.mask.any()


def test_converters_say_which_labels_are_weak(generator: Generator, tmp_path: Path) -> None:
    request = DatasetRequest(("spot",), 2, placing=BOXED, sampling=_ungated())
    write_dataset(generator, request, tmp_path / "set")
    done = convert_dataset(tmp_path / "set", "coco", tmp_path / "coco", val=0)
    assert done.classes["spot"].weak == 2


def _ungated() -> object:
    from seas_runtime import Sampling

    return Sampling(gate=False)


def test_openvino_makes_the_same_pairs(bundle: Path, generator: Generator) -> None:
    pytest.importorskip("openvino")
    other = Generator.open(bundle, "openvino:fp32", threads=1)
    options = {"placing": BOXED, "gate": False, "batch": 2}
    for one, two in zip(
        generator.generate("dark_line", 3, **options),  # type: ignore[arg-type]
        other.generate("dark_line", 3, **options),  # type: ignore[arg-type]
        strict=True,
    ):
        assert np.abs(one.image.astype(int) - two.image).max() <= 1


def test_what_measures_no_masks_refuses_refined_ones(generator: Generator) -> None:
    with pytest.raises(UserError, match="--mask refined: method anogen measures no masks"):
        list(generator.generate("spot", 1, placing=Placing(mask=REFINED)))
    assert list(generator.generate("spot", 1, placing=Placing(mask=PLACED), gate=False))


def test_the_embedding_is_all_of_the_context(checkpoint: Path) -> None:
    """Attention over L times the same token is that over the one."""
    loaded = load_checkpoint(checkpoint)
    made = contexts(loaded)["spot"]
    row = loaded.artifacts["embeddings"]["spot"]
    assert torch.equal(made, row.expand_as(made))
    latents = torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        whole = loaded.unet(latents, 500, made[None]).sample
        single = loaded.unet(latents, 500, row[None, None]).sample
    assert torch.allclose(whole, single, atol=1e-5)


def test_the_masked_loss_is_its_formula() -> None:
    eps, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, 0, 5:9, 30], masks[1, 0, 16:32, 16:32] = 1, 1
    small = latent_masks(masks, 8)
    assert small[0].nonzero()[:, 1:].tolist() == [[0, 3], [1, 3]]
    expected = sum(
        float((eps[b, c, y, x] - noise[b, c, y, x]) ** 2)
        for b in range(2)
        for c in range(4)
        for y in range(8)
        for x in range(8)
        if small[b, 0, y, x]
    )
    assert float(masked_noise_loss(eps, noise, small)) == pytest.approx(expected / eps.numel(), abs=1e-5)


def test_the_weak_loss_is_its_formula() -> None:
    loss, anomaly = torch.rand(3, 5, 5), torch.rand(3, 5, 5)
    boxes = torch.zeros(3, 5, 5)
    boxes[:, 1:4, 1:4] = 1
    total = 0.0
    for place in np.ndindex(3, 5, 5):
        sure = 1 - float(anomaly[place]) >= 0.9
        total += 0.0 if boxes[place] == 1 and sure else float(loss[place])
    assert float(weak_supervision_loss(loss, anomaly, boxes)) == pytest.approx(total / 75, abs=1e-5)
    edge = torch.full((1, 1), 0.25)
    assert float(weak_supervision_loss(edge, edge, torch.ones(1, 1), tau=0.75)) == 0
    with pytest.raises(ValueError, match="expected one shape"):
        weak_supervision_loss(loss, anomaly, boxes[0])


def test_defects_learned_together_are_as_if_learned_alone(tmp_path: Path) -> None:
    """The gradient of one's embedding is that of its own mean."""
    base = load_base(write_tiny_base(tmp_path / "base"))
    product = load_product(write_tiny_product(tmp_path / "plate"), size=IMAGE_SIZE)
    config = TrainConfig.for_base(base).anogen.updated({"half_precision": False})
    stage = AnoGenStage(product, base, config)
    stage.prepare(torch.device("cpu"), progress=False)
    tensors = stage.draw(step_random(0, stage.name, 1, 0)).tensors
    stage.losses(stage.module, tensors)["loss"].backward()
    both = stage.module.rows.grad
    assert both is not None
    both = both.clone()
    own = tensors["defects"] == 1
    stage.module.rows.grad = None
    eps = stage.module(tensors["noisy"][own], tensors["timesteps"][own], tensors["defects"][own])
    masked_noise_loss(eps, tensors["target"][own], tensors["masks"][own]).backward()
    alone = stage.module.rows.grad
    assert alone is not None
    assert torch.allclose(both[1], alone[1], atol=1e-6)
    assert bool((alone[0] == 0).all())


def test_whose_rules(tmp_path: Path) -> None:
    base = load_base(write_tiny_base(tmp_path / "base"))
    assert TrainConfig.for_base(base, "paper").anogen.embedding is Embedding.OUTPUT
    config = TrainConfig.for_base(base, "authors").anogen
    assert config.embedding is Embedding.INPUT
    model = EmbeddingModel(base, 2, config)
    noisy = torch.randn(2, 4, 8, 8)
    model(noisy, torch.tensor([3, 500]), torch.tensor([0, 1])).square().mean().backward()
    assert model.rows.grad is not None
    assert bool((model.rows.grad != 0).any(dim=1).all())
    assert not any(parameter.requires_grad for parameter in base.unet.parameters())


def test_three_pairs_are_drawn_by_the_seed(tmp_path: Path) -> None:
    product = load_product(write_tiny_product(tmp_path / "plate", pairs=18), size=IMAGE_SIZE)
    first, again, other = (with_shots(product, 3, seed) for seed in (0, 0, 1))
    assert [len(defect.train) for defect in first.defects] == [3, 3]
    assert first.defects == again.defects
    assert first.defects != other.defects
    with pytest.raises(UserError, match="shots: expected 1 to 5, found 6"):
        TrainConfig().anogen.updated({"shots": 6})


def test_a_checkpoint_with_other_embeddings_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import save_file

    copy = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    file = copy / "embeddings/tensors.safetensors"
    save_file({"spot": torch.zeros(16)}, file)
    with pytest.raises(UserError, match=r"expected \['dark_line', 'spot'\], found \['spot'\]"):
        load_checkpoint(copy)
    save_file({"spot": torch.zeros(16), "dark_line": torch.full((16,), float("nan"))}, file)
    with pytest.raises(UserError, match="expected finite values"):
        load_checkpoint(copy)


def test_the_bundle_says_what_it_needs(bundle: Path) -> None:
    manifest = Bundle.read(bundle).manifest
    assert manifest.generation["embedding"] == "output"
    assert manifest.generation["blend"] == "fresh"
    changed = json.loads((bundle / "manifest.json").read_text())
    changed["generation"]["embedding"] = "both"
    from seas_runtime.bundle.manifest_reading import read_manifest

    with pytest.raises(UserError, match="embedding"):
        read_manifest(changed, "manifest.json")


@needs_rtx
def test_rtx_engines_are_built_of_all_that_generation_runs(bundle: Path, tmp_path: Path) -> None:
    """Of step, decoder and encoder, in half precision."""
    graphs = ("step", "decode_image", "encode_image")
    assert build_for_rtx(bundle, tmp_path) == dict.fromkeys(graphs, "fp16")
