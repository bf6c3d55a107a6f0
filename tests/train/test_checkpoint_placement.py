"""What a checkpoint brings for placed pairs."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from seas_runtime.errors import UserError
from seas_runtime.outputs.kinds import strangers
from seas_train import load_checkpoint, train_product
from seas_train.bases.base import Base
from seas_train.checkpoint import CHECKPOINT
from seas_train.data import PhotographsConfig, Product, Regions, load_product
from seas_train.diffusion.examples import Examples
from seas_train.methods.seas.config import TrainConfig
from seas_train.methods.seas.mask_head.evaluation import evaluate_masks
from seas_train.methods.seas.training import train_fingerprint
from seas_train.placement import writing
from seas_train.placement.files import read_placement
from seas_train.placement.writing import spread, write_placement
from tests.bases import IMAGE_SIZE
from tests.products import write_tiny_product

ON = PhotographsConfig(regions=Regions.ON, regions_per_pair=3, regions_per_normal=2)


@pytest.fixture(scope="module")
def large_product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """Photographs of 160 pixels, seen in regions."""
    folder = write_tiny_product(tmp_path_factory.mktemp("products") / "plate", size=160)
    return load_product(folder, ON, size=IMAGE_SIZE)


@pytest.fixture(scope="module")
def trained(tiny_base: Base, large_product: Product, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that was trained on regions, and no test may change."""
    return train(large_product, tiny_base, tmp_path_factory.mktemp("trained"))


def config_for(base: Base) -> TrainConfig:
    head = {"coarse_width": 8, "fine_width": 8, "heads": 2, "groups": 4, "depth": 1, "statistics_batches": 1}
    return TrainConfig.for_base(base, defects=2).updated(
        {"finetune": {"steps": 3, "anomaly_tokens": 2}, "mask_head": {"steps": 2, **head}, "save_every": 1}
    )


def train(product: Product, base: Base, folder: Path) -> Path:
    return train_product(
        product, base, folder / "checkpoint", folder / "run", config_for(base), progress=False
    )


def contents(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_regions_train_and_the_checkpoint_says_so(trained: Path, large_product: Product) -> None:
    checkpoint = load_checkpoint(trained)
    assert checkpoint.meta["regions"] == {"per_pair": 3, "per_normal": 2, "ratio": [1.5, 6.0]}
    assert checkpoint.meta["data_fingerprint"] == large_product.fingerprint
    assert checkpoint.references.shape == (4, 4, 8, 8)  # one region of each normal
    assert strangers(trained, CHECKPOINT) == []


def test_the_same_product_trains_to_the_same_files(
    trained: Path, large_product: Product, tiny_base: Base, tmp_path: Path
) -> None:
    assert contents(train(large_product, tiny_base, tmp_path)) == contents(trained)


def test_examples_are_regions(large_product: Product, tiny_base: Base) -> None:
    examples = Examples(large_product, tiny_base.geometry, rotate=True, flip=True)
    assert len(examples.defects) == 2 * 2 * 3
    assert len(examples.normals) == 4 * 2
    assert {len(example.augmentations) for example in (*examples.defects, *examples.normals)} == {2}
    assert {c for example in examples.defects for c in example.augmentations} == set(examples.augmentations)
    assert all(example.mask.any() for example in examples.defects)
    examples.use(tiny_base.vae)
    reads: list[Path] = []
    read = large_product.photograph
    object.__setattr__(large_product, "photograph", lambda path: (reads.append(path), read(path))[1])
    try:
        examples.encode_all(progress=False)
    finally:
        object.__delattr__(large_product, "photograph")
    assert len(reads) == len(set(reads)) == 8  # four pairs and four normals, each once
    first = examples.normals[0].view
    assert np.array_equal(
        examples.references()[0], examples.moments(examples.normals[:1], [examples.augmentations[0]])[0, 0]
    )
    assert first.region is not None


def test_placement_holds_what_was_seen(trained: Path, large_product: Product) -> None:
    found = load_checkpoint(trained).placement
    assert found is not None
    assert found.regions
    assert {*found.shapes} == {*found.masks} == {"dark_line", "spot"}
    assert {*found.images} == {"dark_line", "spot", "good"}
    for defect in large_product.defects:
        views = [view for pair in defect.train for view in large_product.pair_views(pair)]
        assert found.images[defect.name].shape == (len(views), IMAGE_SIZE, IMAGE_SIZE, 3)
        pair = defect.train[1]
        view = large_product.pair_views(pair)[2]
        assert np.array_equal(found.images[defect.name][5], large_product.image(pair.image, view.region))
        assert np.array_equal(found.masks[defect.name][5] > 0, large_product.mask(pair, view.region))
        for pair, shape in zip(defect.train, found.shapes[defect.name], strict=True):
            marked = np.asarray(Image.open(pair.mask)) > 0
            rows, columns = np.flatnonzero(marked.any(1)), np.flatnonzero(marked.any(0))
            cut = marked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert np.array_equal(shape.mask, cut)
            assert shape.photograph == (160, 160)
    assert found.images["good"].shape == (8, IMAGE_SIZE, IMAGE_SIZE, 3)
    normals = found.description["normals"]
    assert (normals["count"], normals["width"], normals["modes"]) == (4, [160, 160, 160], {"8-bit RGB": 4})
    means = [np.asarray(Image.open(path).convert("L")).mean() for path in large_product.normals]
    assert normals["brightness"] == pytest.approx([min(means), np.median(means), max(means)], abs=0.01)


def test_backgrounds_are_the_normals_without_loss(trained: Path, large_product: Product) -> None:
    found = load_checkpoint(trained).placement
    assert found is not None
    assert [path.name for path in found.backgrounds] == ["000.png", "001.png", "002.png", "003.png"]
    for background, path in zip(found.backgrounds, large_product.normals, strict=True):
        assert np.array_equal(np.asarray(Image.open(background)), np.asarray(Image.open(path)))


def test_deep_backgrounds_keep_their_values(tmp_path: Path) -> None:
    folder = write_tiny_product(tmp_path / "plate", size=64, normals=2)
    deep = np.random.default_rng(0).integers(0, 65536, (50, 70), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "train/good/000.png")
    floats = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    Image.fromarray(floats).save(folder / "train/good/001.tif")
    (folder / "train/good/001.png").unlink()
    write_placement(tmp_path / "placement", load_product(folder, size=IMAGE_SIZE))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "placement/backgrounds/000.png")), deep)
    assert len(list((tmp_path / "placement/backgrounds").iterdir())) == 1  # PNG does not hold the other
    modes = json.loads((tmp_path / "placement/placement.json").read_text())["normals"]["modes"]
    assert modes == {"16-bit grey": 1, "other": 1}


def test_backgrounds_are_few_where_they_are_large(
    large_product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_placement(tmp_path / "all", large_product)
    sizes = [file.stat().st_size for file in sorted((tmp_path / "all/backgrounds").iterdir())]
    monkeypatch.setattr(writing, "MOST_BYTES", sizes[0] + sizes[1] + 10)
    write_placement(tmp_path / "few", large_product)
    assert len(list((tmp_path / "few/backgrounds").iterdir())) == 2
    monkeypatch.setattr(writing, "MOST_BYTES", 10)
    write_placement(tmp_path / "none", large_product)
    assert not list((tmp_path / "none/backgrounds").iterdir())


def test_spread_is_even() -> None:
    assert spread(range(5), 16) == [0, 1, 2, 3, 4]
    assert spread(range(60), 4) == [0, 15, 30, 45]
    assert spread([], 4) == []


def test_whole_pictures_have_placement_too(tiny_product: Product, tmp_path: Path) -> None:
    assert tiny_product.regions is None
    write_placement(tmp_path / "placement", tiny_product)
    found = read_placement(tmp_path)
    assert found is not None
    assert not found.regions
    pair = tiny_product.defects[0].train[0]
    assert np.array_equal(found.images["dark_line"][0], tiny_product.image(pair.image))
    assert np.array_equal(found.masks["dark_line"][0] > 0, tiny_product.mask(pair))
    assert len(found.shapes["spot"]) == 2


def test_masks_are_judged_on_regions(trained: Path, large_product: Product) -> None:
    checkpoint = load_checkpoint(trained)
    head, prompts = checkpoint.artifacts["mask_head"], checkpoint.prompts
    scores = evaluate_masks(checkpoint, head, prompts, large_product, tau=1e-6, limit=3, normals=2)
    everything = evaluate_masks(checkpoint, head, prompts, large_product, tau=1e-6, limit=3, normals=2)
    assert scores == everything
    for defect, score in zip(large_product.defects, scores.defects, strict=True):
        views = [(pair, large_product.judged_pair(pair, 0)) for pair in defect.test[:3]]
        masks = [large_product.mask(pair, view.region) for pair, view in views]
        assert score.true == sum(int(mask.sum()) for mask in masks)
        assert score.iou == score.area == pytest.approx(np.mean(masks))  # a mask that marks everything
    assert (scores.normals, scores.empty_normals) == (2, 0)


def test_older_checkpoints_have_none(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "checkpoint")
    shutil.rmtree(tmp_path / "checkpoint/placement")
    assert load_checkpoint(tmp_path / "checkpoint").placement is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("placement.json", "placement.json"),
        ("shapes.safetensors", "shapes.safetensors"),
        ("regions.safetensors", "regions.safetensors"),
    ],
)
def test_a_broken_file_is_named(trained: Path, tmp_path: Path, name: str, words: str) -> None:
    shutil.copytree(trained, tmp_path / "checkpoint")
    for spoil in (Path.unlink, lambda file: file.write_bytes(b"{}")):
        spoil(tmp_path / "checkpoint/placement" / name)
        with pytest.raises(UserError, match=words):
            _ = load_checkpoint(tmp_path / "checkpoint").placement


def test_regions_of_another_form_are_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "placement", tmp_path / "placement")
    file = tmp_path / "placement/regions.safetensors"
    tensors = load_file(file)
    for name, tensor, words in (
        ("spot/images", tensors["spot/images"].astype(np.float32), "found spot/images float32"),
        ("spot/depths", tensors["spot/masks"], "found spot/depths"),
        ("ring/masks", tensors["spot/masks"], "images and masks of each defect"),
    ):
        save_file({**tensors, name: tensor}, file)
        with pytest.raises(UserError, match=words):
            read_placement(tmp_path)


def test_regions_are_a_training_of_its_own(large_product: Product, tiny_base: Base) -> None:
    config = config_for(tiny_base)
    whole = load_product(large_product.root, PhotographsConfig(regions=Regions.OFF), size=IMAGE_SIZE)
    prints = {train_fingerprint(product, tiny_base, config) for product in (large_product, whole)}
    assert len(prints) == 2
    assert replace(large_product, layout=whole.layout).regions == large_product.regions
