from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seas_runtime.errors import UserError
from seas_train import load_checkpoint, train_product
from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.diffusion.taps import unet_with_taps
from seas_train.methods.seas.config import TrainConfig
from seas_train.methods.seas.finetune.stage import FinetuneStage
from seas_train.methods.seas.mask_head.specks import measure_speck
from seas_train.methods.seas.mask_head.stage import MaskHeadStage
from seas_train.training.stage import Batch


def config_for(base: Base) -> TrainConfig:
    return TrainConfig.for_base(base, defects=2).updated(
        {
            "finetune": {"steps": 3, "anomaly_tokens": 2},
            "mask_head": {
                "steps": 2,
                "coarse_width": 8,
                "fine_width": 8,
                "heads": 2,
                "groups": 4,
                "depth": 1,
                "statistics_batches": 1,
            },
            "save_every": 1,
        }
    )


@pytest.fixture(scope="module")
def trained(tiny_base: Base, tiny_product: Product, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that no test may change."""
    folder = tmp_path_factory.mktemp("trained")
    config = config_for(tiny_base)
    return train_product(
        tiny_product, tiny_base, folder / "checkpoint", folder / "run", config, progress=False
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_a_checkpoint_says_what_it_is(trained: Path, tiny_base: Base, tiny_product: Product) -> None:
    checkpoint = load_checkpoint(trained)
    meta = checkpoint.meta
    assert (checkpoint.product, checkpoint.defects) == ("plate", ("dark_line", "spot"))
    assert meta["defects"][1] == {"name": "spot", "tokens": ["<spot_1>", "<spot_2>"]}
    assert checkpoint.prompts == {
        "good": "a <ob>",
        "dark_line": "a <ob> with <dark_line_1> <dark_line_2>",
        "spot": "a <ob> with <spot_1> <spot_2>",
    }
    assert meta["base"] == {"name": "tiny", "fingerprint": tiny_base.fingerprint, "licence": "unknown"}
    assert (meta["normals"], meta["shots"]) == (4, {"dark_line": 2, "spot": 2})
    assert meta["data_fingerprint"] == tiny_product.fingerprint
    assert set(meta["losses"]) == {"finetune", "mask_head"}
    assert meta["generation"] == {
        "guidance": 3.5,
        "tau": 0.2,
        "references": "unscaled",
        "start": "drawn",
        "threshold": "at_least",
        "short_schedules": "second_order",
        "speck_share": 0.25,
        "speck": measure_speck(tiny_product, 0.25, 0),
        "strength": 0.4,
        "timestep_spacing": "leading",
    }
    assert checkpoint.geometry == tiny_base.geometry
    assert checkpoint.references.shape == (4, 4, 8, 8)


def test_a_checkpoint_of_an_earlier_version_loads(trained: Path, tmp_path: Path) -> None:
    """Its geometry has the mask head's channels too; the first of them named no method."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(trained, checkpoint)
    geometry = json.loads((trained / "seas.json").read_text())["geometry"]
    channels = {"tap_coarse_channels": 32, "tap_fine_channels": 16, "vae_tap_channels": [16, 16, 8]}
    edit(geometry={**geometry, **channels}, method=None)(checkpoint)
    loaded, usual = load_checkpoint(checkpoint), load_checkpoint(trained)
    assert (loaded.method, loaded.geometry) == (usual.method, usual.geometry) == ("seas", usual.geometry)


def test_a_checkpoint_of_an_unknown_method_is_refused(trained: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(trained, checkpoint)
    edit(method="magic")(checkpoint)
    with pytest.raises(UserError, match=r"method: expected .*seas.*, found 'magic'"):
        load_checkpoint(checkpoint)


def test_nothing_is_pickled(trained: Path) -> None:
    kinds = {
        file.suffix for file in [*trained.rglob("*"), *(trained.parent / "run").rglob("*")] if file.is_file()
    }
    events = {file.suffix for file in (trained.parent / "run").rglob("events.out.tfevents*")}
    assert kinds - events <= {".json", ".jsonl", ".safetensors", ".txt", ".png"}


def test_a_checkpoint_predicts(trained: Path) -> None:
    checkpoint = load_checkpoint(trained)
    context = checkpoint.context(checkpoint.prompts["spot"])
    assert context.shape == (1, 16, 16)
    assert not torch.equal(context, checkpoint.context(""))
    with torch.no_grad():
        eps, coarse, fine = unet_with_taps(
            checkpoint.unet, checkpoint.references[:1], torch.tensor(40), context
        )
    assert eps.shape == (1, 4, 8, 8)
    assert coarse.shape[1] == checkpoint.artifacts["mask_head"].architecture.tap_coarse_channels
    assert fine.shape[1] == checkpoint.artifacts["mask_head"].architecture.tap_fine_channels


def test_diffusers_opens_a_checkpoint(trained: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(str(trained), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    images = pipe("a <ob> with <spot_1> <spot_2>", num_inference_steps=1, output_type="np").images
    assert images.shape == (1, 64, 64, 3)


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("stage", [FinetuneStage, MaskHeadStage])
def test_training_interrupted_in_either_stage_resumes_to_the_same_checkpoint(
    trained: Path,
    tiny_base: Base,
    tiny_product: Product,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: type[FinetuneStage] | type[MaskHeadStage],
) -> None:
    real, calls = stage.draw, 0

    def draw(self: Any, random: Any) -> Batch:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Interrupted
        return real(self, random)

    config = config_for(tiny_base)
    places = (tmp_path / "checkpoint", tmp_path / "run")
    monkeypatch.setattr(stage, "draw", draw)
    with pytest.raises(Interrupted):
        train_product(tiny_product, tiny_base, *places, config, progress=False)
    assert not places[0].exists()
    monkeypatch.undo()
    train_product(tiny_product, tiny_base, *places, config, resume=True, progress=False)
    assert files(places[0]) == files(trained)


def edit(**values: Any) -> Callable[[Path], None]:
    def apply(checkpoint: Path) -> None:
        file = checkpoint / "seas.json"
        meta = {**json.loads(file.read_text()), **values}
        file.write_text(json.dumps({key: value for key, value in meta.items() if value is not None}))

    return apply


def references(tensor: torch.Tensor | None) -> Callable[[Path], None]:
    def apply(checkpoint: Path) -> None:
        file = checkpoint / "references.safetensors"
        save_file(
            {"latents" if tensor is not None else "others": torch.zeros(1) if tensor is None else tensor},
            file,
        )

    return apply


def remove(*parts: str) -> Callable[[Path], None]:
    def apply(checkpoint: Path) -> None:
        path = checkpoint.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return apply


def other_tokenizer(checkpoint: Path) -> None:
    for file in (checkpoint / "tokenizer").glob("*.json"):  # which one counts depends on transformers
        file.write_text(file.read_text().replace("<spot_2>", "<smear_2>"))


def broken_head(checkpoint: Path) -> None:
    file = checkpoint / "mask_head" / "model.safetensors"
    tensors = load_file(file)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, file)


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no description": (remove("seas.json"), "seas.json is missing"),
    "description of another schema": (edit(schema=2), "schema: expected 1, found 2"),
    "no prompts": (edit(prompts=None), "prompts: expected an object, found nothing"),
    "no product": (edit(product=None), "product: expected text, found nothing"),
    "normals as text": (edit(normals="60"), "normals: expected a whole number, found str"),
    "prompts of other defects": (edit(prompts={"good": "a <ob>"}), "prompts: expected one for good and each"),
    "defects without tokens": (
        edit(defects=[{"name": "dark_line"}, {"name": "spot"}]),
        "expected each to list its tokens",
    ),
    "defects of another form": (edit(defects=["spot"]), "prompts: expected one for good"),
    "geometry without a size": (edit(geometry={"image_size": 64}), "geometry: expected the keys"),
    "no references": (remove("references.safetensors"), "references.safetensors"),
    "references of another name": (references(None), "expected the tensor `latents`"),
    "references of another shape": (references(torch.zeros(2, 4, 4, 4)), "of shape \\[n, 4, 8, 8\\]"),
    "half precision references": (references(torch.zeros(2, 4, 8, 8).half()), "expected float32"),
    "references that are not finite": (references(torch.full((1, 4, 8, 8), float("nan"))), "all finite"),
    "no mask head": (remove("mask_head"), "mask_head"),
    "mask head that lacks a tensor": (broken_head, "missing"),
    "no U-Net": (remove("unet"), "unet"),
    "another product's tokenizer": (other_tokenizer, "does not know <spot_2>"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint_is_refused(name: str, trained: Path, tmp_path: Path) -> None:
    spoil, message = BAD[name]
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(trained, checkpoint)
    spoil(checkpoint)
    with pytest.raises(UserError, match=message):
        load_checkpoint(checkpoint)


def test_no_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder; expected one that `seas-export train` wrote"):
        load_checkpoint(tmp_path / "nothing")
