"""What export reads from real windows: features to score placed pairs by, and bounds for their gates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy import ndimage

from seas_export.bundles.describe import describe_bundle
from seas_export.export import ExportResult
from seas_export.methods.seas import real_windows
from seas_export.methods.seas.real_windows import contrast, feature_table, measured_gates
from seas_runtime.bundle.reading import Bundle
from seas_runtime.methods.placed.bounds import PlacedBounds
from seas_runtime.methods.placed.gates import seam
from seas_runtime.methods.placed.score import FEATURES, features, normals_key, pair_score, score
from seas_runtime.placement.masks.shapes import Shape, pack_shapes
from seas_runtime.placement.paste import feather
from seas_train import Checkpoint, load_checkpoint
from seas_train.bases.base import load_base
from seas_train.data import PhotographsConfig, Regions, load_product
from seas_train.sample.write import write_sample
from tests.bases import IMAGE_SIZE
from tests.export.checkpoints import DEFECTS

CELL = 8


def plate(random: np.random.Generator) -> np.ndarray:
    picture: np.ndarray = random.integers(110, 130, (IMAGE_SIZE, IMAGE_SIZE, 1)).repeat(3, axis=2)
    return picture.astype(np.uint8)


@pytest.fixture(scope="module")
def with_windows(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint, with windows of grey plates: dark squares as `chip`, nothing as `scratch`.

    One of the masks of `scratch` is empty.
    """
    folder = Path(shutil.copytree(checkpoint_folder, tmp_path_factory.mktemp("windows") / "checkpoint"))
    random, tensors = np.random.default_rng(0), {}
    for defect, levels in zip(DEFECTS, (60, 0), strict=True):
        images, masks = [], np.zeros((3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        for place, mask in enumerate(masks):
            mask[20 : 36 + place, 24:40] = 1
            image = plate(random)
            image[mask > 0] -= np.uint8(levels)
            images.append(image)
        if not levels:
            masks[1] = 0
        tensors[f"{defect}/images"], tensors[f"{defect}/masks"] = np.stack(images), masks
    tensors["good/images"] = np.stack([plate(random) for _ in range(10)])
    (folder / "placement/backgrounds").mkdir(parents=True)
    save_file(tensors, folder / "placement/regions.safetensors")
    shape = Shape(np.ones((4, 4), bool), (IMAGE_SIZE, IMAGE_SIZE), (0.5, 0.5), 1.0)
    save_file(pack_shapes({name: [shape] for name in DEFECTS}), folder / "placement/shapes.safetensors")
    (folder / "placement/placement.json").write_text(json.dumps({"schema": 1, "regions": True}))
    return folder


@pytest.fixture(scope="module")
def windowed(with_windows: Path) -> Checkpoint:
    return load_checkpoint(with_windows)


def latents_of(checkpoint: Checkpoint, image: np.ndarray) -> torch.Tensor:
    pixels = torch.from_numpy(image.transpose(2, 0, 1)[None] / 127.5 - 1).float()
    found: torch.Tensor = (
        checkpoint.vae.encode(pixels).latent_dist.mean * checkpoint.vae.config.scaling_factor
    )
    return found


@torch.inference_mode()
def test_features_are_the_u_nets_own_at_the_last_step(windowed: Checkpoint) -> None:
    """diffusers' noise, its forward and a hook, with the defect's prompt."""
    table = feature_table(windowed)
    assert windowed.placement is not None
    images, masks = windowed.placement.images["chip"], windowed.placement.masks["chip"]
    taps: list[torch.Tensor] = []
    block = windowed.unet.up_blocks[1]
    handle = block.register_forward_hook(lambda _module, _inputs, output: taps.append(output))
    noise = np.random.Generator(np.random.Philox(0))
    timestep = 40  # the last of DPM-Solver++ 2M's 25, spaced evenly
    for image in images:
        latents = latents_of(windowed, image)
        fresh = torch.from_numpy(noise.standard_normal(latents.shape, dtype=np.float32))
        noised = windowed.scheduler.add_noise(latents, fresh, torch.tensor([timestep]))
        windowed.unet(noised, timestep, windowed.context(windowed.prompts["chip"]))
    handle.remove()
    expected = [features(tap[0].numpy(), mask > 0) for tap, mask in zip(taps, masks, strict=True)]
    assert table["chip"] == pytest.approx(np.stack(expected), abs=1e-4)


def test_every_defect_with_a_mask_has_features_and_so_have_normals(windowed: Checkpoint) -> None:
    table = feature_table(windowed)
    assert {name: len(rows) for name, rows in table.items()} == {
        "chip": 3,
        "chip/good": real_windows.NORMALS * 8,
        "scratch": 2,
        "scratch/good": real_windows.NORMALS * 8,
    }
    assert {rows.dtype for rows in table.values()} == {np.dtype(np.float32)}
    again = feature_table(windowed)
    assert all(np.array_equal(table[name], again[name]) for name in table)


@torch.inference_mode()
def test_bounds_are_a_part_of_what_defects_are_and_more_than_the_vae_leaves(windowed: Checkpoint) -> None:
    bounds = measured_gates(windowed)
    assert set(bounds) == set(DEFECTS)
    assert windowed.placement is not None
    chips = windowed.placement.masks["chip"] > 0
    goods = [windowed.placement.images["good"][index * 10 // 8] for index in range(8)]

    def again(image: np.ndarray) -> np.ndarray:
        pixels = windowed.vae.decode(latents_of(windowed, image) / windowed.vae.config.scaling_factor).sample
        clipped = (pixels[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255
        made: np.ndarray = clipped.round().numpy().astype(np.uint8)
        return made

    usual = np.median(
        [
            contrast(image, mask, CELL)
            for image, mask in zip(windowed.placement.images["chip"], chips, strict=True)
        ]
    )
    assert 48 < usual < 60  # 60, but for patches at the border, which lie half outside
    assert bounds["chip"]["change"] == pytest.approx(usual / 4, abs=0.01)
    around = [feather(mask, IMAGE_SIZE, CELL) for mask in chips]
    steps = [
        seam(image, again(image), weights, np.zeros(image.shape[:2], np.bool_), CELL)
        for image in goods
        for weights in around
    ]
    assert bounds["chip"]["seam"] == pytest.approx(max(8, 1.5 * np.quantile(steps, 0.95)), abs=0.01)
    assert bounds["scratch"]["change"] == 2.0  # where nothing is to be seen, little is asked for


def test_contrast_is_against_the_ring_around() -> None:
    image = np.full((96, 96, 3), 100, np.uint8)
    mask = np.zeros((96, 96), bool)
    mask[40:56, 40:56] = True
    image[mask] = 150
    image[:8] = 0  # beyond the ring
    patches = ndimage.uniform_filter(image.astype(float), (5, 5, 0))
    assert contrast(image, mask, CELL) == pytest.approx(np.abs(patches[mask] - 100).mean(), abs=0.01)
    assert contrast(image, np.ones_like(mask), CELL) is None


def test_a_bundle_has_both_and_says_so(
    traced: Callable[..., ExportResult], with_windows: Path, windowed: Checkpoint, tmp_path: Path
) -> None:
    made = traced(with_windows, tmp_path / "bundle", steps=10, parity=False)
    bundle = Bundle.read(made.bundle)
    table = feature_table(windowed)
    assert all(np.array_equal(bundle.tables[FEATURES][name], rows) for name, rows in table.items())
    bounds = measured_gates(windowed)["chip"]
    assert PlacedBounds.of(bundle.manifest.generation, "chip") == PlacedBounds(**bounds)
    facts = describe_bundle(made.bundle)
    assert (facts["gates_measured"], facts["scored"]) == (True, True)


def test_an_older_checkpoint_has_neither(exported: ExportResult, checkpoint: Checkpoint) -> None:
    assert feature_table(checkpoint) == measured_gates(checkpoint) == {}
    facts = describe_bundle(exported.bundle)
    assert (facts["gates_measured"], facts["scored"]) == (False, False)


def test_masks_that_mark_nothing_leave_a_defect_out(windowed: Checkpoint) -> None:
    assert windowed.placement is not None
    empty = replace(windowed.placement, masks={name: m * 0 for name, m in windowed.placement.masks.items()})
    bare: Any = SimpleNamespace(placement=empty, defects=windowed.defects)
    assert feature_table(bare) == measured_gates(bare) == {}


@pytest.fixture(scope="module")
def bottles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Any]]]:
    """Windows of the sample product at `micro`'s size by defect: of training pairs and of held-out ones."""
    folder = write_sample(
        tmp_path_factory.mktemp("products"), size=512, train_good=8, test_good=4, defective=12
    )
    product = load_product(folder, PhotographsConfig(regions=Regions.ON), size=256)
    found: dict[str, dict[str, list[Any]]] = {"good": {"train": [], "test": []}}
    for defect in product.defects:
        found[defect.name] = {"train": [], "test": []}
        for pair in defect.train:
            view = product.pair_views(pair)[0]
            found[defect.name]["train"].append(
                (product.image(pair.image, view.region), product.mask(pair, view.region))
            )
        for pair in defect.test[:6]:
            region = product.judged_pair(pair, 0).region
            found[defect.name]["test"].append((product.image(pair.image, region), product.mask(pair, region)))
    for path in product.normals:
        found["good"]["train"].append(product.image(path, product.normal_views(path)[0].region))
    for path in product.test_normals:
        found["good"]["test"].append(product.image(path, product.judged_normal(path, 0).region))
    return found


@torch.inference_mode()
def test_real_held_out_defects_score_above_normals_and_copies(
    bottles: dict[str, dict[str, list[Any]]],
) -> None:
    """`micro`'s own U-Net, before any fine-tuning, on the sample product."""
    base = load_base("micro")
    defects = [name for name in bottles if name != "good"]
    placement = SimpleNamespace(
        images={
            "good": np.stack(bottles["good"]["train"]),
            **{name: np.stack([image for image, _ in bottles[name]["train"]]) for name in defects},
        },
        masks={name: np.stack([mask for _, mask in bottles[name]["train"]]) for name in defects},
    )
    prompt = base.tokenizer, base.text_encoder
    checkpoint: Any = SimpleNamespace(
        placement=placement,
        defects=defects,
        prompts={name: f"a bottle with {name}" for name in defects},
        context=lambda text: Checkpoint.context(
            SimpleNamespace(tokenizer=prompt[0], text_encoder=prompt[1], geometry=base.geometry),  # type: ignore[arg-type]
            text,
        ),
        meta={"generation": {}},
        **{name: getattr(base, name) for name in ("vae", "unet", "scheduler", "geometry")},
    )
    table = feature_table(checkpoint)
    for defect in defects:
        given = checkpoint.context(checkpoint.prompts[defect])
        reader = real_windows._TapReader(checkpoint, given)
        held_out = [
            pair_score(table, defect, reader.read(latents_of(checkpoint, image)), mask) or 0.0
            for image, mask in bottles[defect]["test"]
        ]
        taps = [reader.read(latents_of(checkpoint, image)) for image in bottles["good"]["test"]]
        masks = [mask for _, mask in bottles[defect]["test"]]
        normals = [pair_score(table, defect, tap, mask) or 0.0 for tap in taps for mask in masks]
        copies = [score(one, table[defect], table[normals_key(defect)]) for one in table[defect]]
        above = np.mean([real > normal for real in held_out for normal in normals])
        print(defect, np.round(held_out, 2), np.round(np.quantile(normals, [0, 0.5, 1]), 2), above)
        assert above >= 0.8
        assert max(copies) < min(held_out)
