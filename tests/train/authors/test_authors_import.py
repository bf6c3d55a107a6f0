"""From the authors' folders to a checkpoint, and every way in which they may not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seas_runtime.errors import UserError
from seas_train import load_checkpoint
from seas_train.data import Product, load_product
from seas_train.methods.seas.authors.generation import read_generation
from seas_train.methods.seas.authors.importing import Imported, import_checkpoint
from seas_train.methods.seas.authors.prompts import AuthorsPrompts, count_defects, make_prompts
from tests.authors import write_authors
from tests.bases import IMAGE_SIZE, write_tiny_base

SAMPLER_RULES = {"timestep_spacing": "linspace", "short_schedules": "first_order"}
"""What their scheduler's file says, which is nothing, and diffusers' default."""


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two defects' training left; no test may change it."""
    return write_authors(tmp_path_factory.mktemp("authors"))


@pytest.fixture
def theirs(authors: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(authors, tmp_path / "authors"))


def run(folder: Path, product: Product, out: Path, **options: Any) -> Imported:
    generation = read_generation(folder / "generation-checkpoint", str(folder / "base"))
    mask = folder / "mask-checkpoint" / "rmp"
    return import_checkpoint(generation, mask, product, out, **{"keep_statistics": True, **options})


def test_the_checkpoint_is_the_authors_with_the_bases_vae(
    authors: Path, tiny_product: Product, tmp_path: Path
) -> None:
    made = run(authors, tiny_product, tmp_path / "checkpoint")
    assert made.references == len(tiny_product.normals)
    checkpoint = load_checkpoint(tmp_path / "checkpoint")
    assert checkpoint.defects == (
        "spot",
        "dark_line",
    )  # their folders are called Spot and dark_line: S before d
    assert checkpoint.prompts == {
        "good": "a ob1",
        "spot": "a ob1 with sks1 sks2 sks3 sks4",
        "dark_line": "a ob1 with sks5 sks6 sks7 sks8",
    }
    unet = torch.load(authors / "generation-checkpoint/unet/diffusion_pytorch_model.bin", weights_only=True)
    assert all(torch.equal(value, unet[name]) for name, value in checkpoint.unet.state_dict().items())
    head = torch.load(authors / "mask-checkpoint/rmp", weights_only=True)
    assert all(
        torch.equal(value, head[name])
        for name, value in checkpoint.artifacts["mask_head"].state_dict().items()
    )
    from seas_train.bases.base import load_base

    base = load_base(authors / "base")
    vae = base.vae.state_dict()
    assert all(torch.equal(value, vae[name]) for name, value in checkpoint.vae.state_dict().items())
    pixels = torch.from_numpy(tiny_product.image(tiny_product.normals[1])).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        latent = base.vae.encode(pixels).latent_dist.mean  # unscaled
    assert torch.allclose(checkpoint.references[1], latent[0], atol=1e-5)
    assert checkpoint.meta["generation"] == {"guidance": 8.0, "tau": 0.2, **SAMPLER_RULES}
    assert checkpoint.meta["base"]["fingerprint"] == base.fingerprint
    assert checkpoint.scheduler.config.beta_end == 0.012


def test_names_that_are_given_are_dealt_out_in_sorted_order(
    authors: Path, tiny_product: Product, tmp_path: Path
) -> None:
    made = run(authors, tiny_product, tmp_path / "c", defects=["scratch", "Chip off"], guidance=2.0, tau=0.4)
    assert made.prompts.defects == ("chip_off", "scratch")
    assert made.prompts.defect_tokens("scratch") == ("sks5", "sks6", "sks7", "sks8")
    assert load_checkpoint(tmp_path / "c").meta["generation"] == {
        "guidance": 2.0,
        "tau": 0.4,
        **SAMPLER_RULES,
    }


def test_photographs_of_normals_alone_are_enough(
    authors: Path, tiny_product: Product, tmp_path: Path
) -> None:
    shutil.copytree(tiny_product.root / "train", tmp_path / "plate" / "train")
    product = load_product(tmp_path / "plate", size=IMAGE_SIZE, defects_needed=False)
    made = run(authors, product, tmp_path / "c", defects=["a", "b"])
    assert made.references == len(product.normals)
    with pytest.raises(UserError, match=r"expected the names of 2 defects, .* found 0: none.*--defect NAME"):
        run(authors, product, tmp_path / "d")
    with pytest.raises(UserError, match="expected at least one defect"):
        load_product(tmp_path / "plate", size=IMAGE_SIZE)


def test_the_same_file_gives_the_same_fingerprint(
    authors: Path, tiny_product: Product, tmp_path: Path
) -> None:
    first, second = (run(authors, tiny_product, tmp_path / name).checkpoint for name in "ab")
    other = run(authors, tiny_product, tmp_path / "c", defects=["x", "y"]).checkpoint
    prints = [load_checkpoint(path).fingerprint for path in (first, second, other)]
    assert prints[0] == prints[1] != prints[2]


def edit(*parts: str, **values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder.joinpath("generation-checkpoint", *parts)
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return apply


def remove(*parts: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return apply


def tokens(**words: int) -> Callable[[Path], None]:
    return lambda folder: (
        (folder / "generation-checkpoint/tokenizer/added_tokens.json").write_text(json.dumps(words)) and None
    )


def lose_a_weight(folder: Path) -> None:
    file = folder / "generation-checkpoint/unet/diffusion_pytorch_model.bin"
    state = torch.load(file, weights_only=True)
    del state["conv_out.weight"]
    torch.save(state, file)


def executable(folder: Path) -> None:
    torch.save(
        {"conv_in.weight": Bomb(folder / "executed")},
        folder / "generation-checkpoint/unet/diffusion_pytorch_model.bin",
    )


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def executable_mask(folder: Path) -> None:
    torch.save(Bomb(folder / "executed"), folder / "mask-checkpoint/rmp")


def mask_folder(folder: Path) -> None:
    (folder / "mask-checkpoint/rmp").unlink()
    (folder / "mask-checkpoint/rmp").mkdir()


def pickled_base(folder: Path) -> None:
    vae = folder / "base/vae"
    (vae / "diffusion_pytorch_model.safetensors").rename(vae / "diffusion_pytorch_model.bin")


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (remove("generation-checkpoint"), "no such folder"),
    "no index": (remove("generation-checkpoint", "model_index.json"), "model_index.json is missing"),
    "no U-Net": (remove("generation-checkpoint", "unet"), "unet"),
    "no weights": (
        remove("generation-checkpoint", "unet", "diffusion_pytorch_model.bin"),
        "found no weights",
    ),
    "SDXL": (edit("model_index.json", _class_name="StableDiffusionXLPipeline"), "SDXL"),
    "x0 prediction": (
        edit("scheduler", "scheduler_config.json", prediction_type="sample"),
        "prediction_type: expected epsilon or v_prediction, found sample",
    ),
    "another schedule": (edit("scheduler", "scheduler_config.json", beta_end=0.02), "noise schedule"),
    "a text encoder without the rows": (edit("text_encoder", "config.json", vocab_size=98), "text_encoder"),
    "a weight is missing": (lose_a_weight, "conv_out.weight"),
    "no added tokens": (
        remove("generation-checkpoint", "tokenizer", "added_tokens.json"),
        "found none of them",
    ),
    "no ob1": (tokens(sks1=98, sks2=99, sks3=100, sks4=101), "expected the added tokens ob1"),
    "three tokens": (tokens(ob1=98, sks1=99, sks2=100, sks3=101), "found ob1, sks1, sks2, sks3"),
    "a gap": (tokens(ob1=98, sks1=99, sks2=100, sks3=101, sks5=102), "found ob1, sks1, sks2, sks3, sks5"),
    "one defect of two": (
        tokens(ob1=98, sks1=99, sks2=100, sks3=101, sks4=102),
        "expected the names of 1 defects.* found 2: Spot, dark_line",
    ),
    "mask is missing": (remove("mask-checkpoint", "rmp"), "found nothing"),
    "mask is a folder": (mask_folder, "give mask-checkpoint/rmp in it"),
    "mask executes": (executable_mask, "not executed"),
    "U-Net executes": (executable, "not executed"),
    "no base": (remove("base"), "no such folder"),
    "the base's weights are pickled": (pickled_base, "--allow-pickle"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(name: str, theirs: Path, tiny_product: Product, tmp_path: Path) -> None:
    spoil, expected = BAD[name]
    spoil(theirs)
    with pytest.raises(UserError, match=expected):
        run(theirs, tiny_product, tmp_path / "out")
    assert not (theirs / "executed").exists()
    assert not (tmp_path / "out").exists()


def test_a_base_of_another_shape_is_refused(theirs: Path, tiny_product: Product, tmp_path: Path) -> None:
    shutil.rmtree(theirs / "base")
    write_tiny_base(theirs / "base")
    config = theirs / "base/vae/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "latent_channels": 16}))
    with pytest.raises(UserError, match="in_channels"):
        run(theirs, tiny_product, tmp_path / "out")


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(UserError, match="each defect once"):
        make_prompts(["a", "a"], 2, "--defect")


def test_the_folder_around_it_will_do(authors: Path) -> None:
    inner = read_generation(authors / "generation-checkpoint", str(authors / "base"))
    assert read_generation(authors, str(authors / "base")).fingerprint == inner.fingerprint


def test_tokens_are_four_for_each_defect() -> None:
    prompts = AuthorsPrompts(("a", "b", "c"))
    assert prompts.tokens == ("ob1", *(f"sks{number}" for number in range(1, 13)))


def test_an_import_with_other_numbers_of_tokens(authors: Path, tiny_product: Product, tmp_path: Path) -> None:
    """Eight anomaly tokens are four defects of two; the product's tokens are counted."""
    defects = ["a", "b", "c", "d"]
    run(authors, tiny_product, tmp_path / "checkpoint", defects=defects, anomaly_tokens=2)
    checkpoint = load_checkpoint(tmp_path / "checkpoint")
    assert checkpoint.defects == ("a", "b", "c", "d")
    assert checkpoint.prompts["b"] == "a ob1 with sks3 sks4"
    with pytest.raises(UserError, match=r"sks1 to sks\{3 x defects\}, found ob1, sks1, .*--anomaly-tokens"):
        run(authors, tiny_product, tmp_path / "other", defects=["a", "b"], anomaly_tokens=3)


def test_an_import_with_several_tokens_of_the_product(authors: Path) -> None:
    tokenizer = read_generation(authors, str(authors / "base")).models.tokenizer
    assert count_defects(tokenizer, "here") == (2, 1)
    tokenizer.add_tokens(["ob2"])
    assert count_defects(tokenizer, "here") == (2, 2)
    prompts = make_prompts(["a", "b"], 2, "here", normals=2)
    assert prompts.texts["a"] == "a ob1 ob2 with sks1 sks2 sks3 sks4"
    tokenizer.add_tokens(["ob4"])
    with pytest.raises(UserError, match="found ob1, ob2, ob4, sks1"):
        count_defects(tokenizer, "here")
