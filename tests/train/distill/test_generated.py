"""Pictures that the teacher made, as latents for its student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seas_runtime.errors import UserError
from seas_train import Checkpoint, load_checkpoint
from seas_train.data import Product, load_product
from seas_train.diffusion.examples import Examples
from seas_train.methods.contract import MadePicture
from seas_train.methods.seas.distill.config import DistillStageConfig
from seas_train.methods.seas.distill.generated import MadeLatents
from seas_train.methods.seas.distill.stage import DistillStage
from seas_train.methods.seas.distill.training import teacher_of
from seas_train.training.random import step_random
from tests.bases import IMAGE_SIZE
from tests.methods.trained import train_tiny

HEAD = {"steps": 1, "coarse_width": 8, "fine_width": 4, "heads": 2, "groups": 3, "depth": 1}
STAGE = DistillStageConfig(steps=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("teacher")
    train_tiny(folder, "seas", {"finetune": {"steps": 1, "normal_augmentations": 1}, "mask_head": HEAD})
    return load_checkpoint(folder / "checkpoint")


@pytest.fixture(scope="module")
def product(teacher: Checkpoint) -> Product:
    return load_product(teacher.path.parent / "plate", size=IMAGE_SIZE)


@pytest.fixture
def examples(teacher: Checkpoint, product: Product) -> Examples:
    made = Examples(product, teacher.geometry, rotate=True, flip=True, normal_augmentations=1)
    made.use(teacher.vae)
    return made


def write(folder: Path, name: str, grey: int, marked: bool = False, size: int = IMAGE_SIZE) -> MadePicture:
    """Write a picture of one grey, and of a first defect its mask, whose upper half is marked."""
    image, mask = folder / f"{name}.png", folder / f"{name}_mask.png"
    Image.fromarray(np.full((size, size, 3), grey, np.uint8)).save(image)
    if not marked:
        return MadePicture(image)
    pixels = np.zeros((size, size), np.uint8)
    pixels[: size // 2] = 255
    Image.fromarray(pixels).save(mask)
    return MadePicture(image, mask, 0)


def latents_of(teacher: Checkpoint, grey: int) -> torch.Tensor:
    pixels = torch.full((1, 3, IMAGE_SIZE, IMAGE_SIZE), grey / 127.5 - 1)
    with torch.no_grad():
        mean: torch.Tensor = teacher.vae.encode(pixels).latent_dist.mean[0]
    return mean * teacher.geometry.scaling_factor


def stage(teacher: Checkpoint, examples: Examples, made: MadeLatents | None) -> DistillStage:
    begun = DistillStage(teacher_of(teacher), examples, STAGE, guidance=2.0, steps=4, made=made)
    begun.prepare(torch.device("cpu"), progress=False)
    return begun


def test_they_take_the_place_of_photographs_of_their_kind(
    teacher: Checkpoint, examples: Examples, tmp_path: Path
) -> None:
    made = MadeLatents([write(tmp_path, "scratch", 200, True), write(tmp_path, "normal", 60)], 1.0)
    made.encode(examples, progress=False)
    prompts = torch.tensor([1, 2, 0])
    latents = torch.zeros(3, *latents_of(teacher, 0).shape)
    masks = torch.zeros(2, 1, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.bool)
    taken = made.mix(examples, latents, masks, prompts, step_random(0, "distill", 1))
    assert {place: Path(name).name for place, name in taken.items()} == {0: "scratch.png", 2: "normal.png"}
    deviation = 6 * examples.encode(np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 200, np.uint8))[1].max()
    for place, grey in ((0, 200), (2, 60)):
        apart = (latents[place] - latents_of(teacher, grey)).abs().max()
        assert apart <= max(1e-4, deviation * teacher.geometry.scaling_factor)
    assert not latents[1].any(), "none was made of this defect"
    assert masks[0, 0, : IMAGE_SIZE // 2].all()
    assert not masks[0, 0, IMAGE_SIZE // 2 :].any()
    assert not masks[1].any()


def test_a_share_of_a_batch_is_made(teacher: Checkpoint, examples: Examples, tmp_path: Path) -> None:
    files = [write(tmp_path, "scratch", 200, True), write(tmp_path, "normal", 60)]
    begun = stage(teacher, examples, MadeLatents(files, 0.25))
    normals = [file for step in range(100) for file in begun.draw(step_random(0, "distill", step)).files[2:]]
    assert 0.15 < np.mean([file == str(files[1].image) for file in normals]) < 0.35
    none = stage(teacher, examples, MadeLatents(files, 0.0))
    assert not any("normal.png" in file for file in none.draw(step_random(0, "distill", 1)).files)


def test_what_was_made_is_part_of_what_a_run_is(
    teacher: Checkpoint, examples: Examples, tmp_path: Path
) -> None:
    files = [write(tmp_path, "scratch", 200, True)]
    alone, before = (
        stage(teacher, examples, made).identity()
        for made in (None, MadeLatents(files, STAGE.generated_share))
    )
    assert "generated" not in alone
    assert before["generated"]["pictures"] == 1
    write(tmp_path, "scratch", 201, True)
    after = MadeLatents(files, STAGE.generated_share)
    assert stage(teacher, examples, after).identity()["generated"] != before["generated"]


def test_pictures_that_cannot_be_used(examples: Examples, tmp_path: Path) -> None:
    small = MadeLatents([write(tmp_path, "small", 60, size=IMAGE_SIZE // 2)], 0.5)
    with pytest.raises(UserError, match=f"expected a whole picture of {IMAGE_SIZE} x {IMAGE_SIZE}"):
        small.encode(examples, progress=False)
    gone = MadeLatents([MadePicture(tmp_path / "gone.png")], 0.5)
    with pytest.raises(UserError, match=r"gone\.png"):
        gone.encode(examples, progress=False)
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match=r"torn\.png"):
        MadeLatents([MadePicture(tmp_path / "torn.png")], 0.5).encode(examples, progress=False)
