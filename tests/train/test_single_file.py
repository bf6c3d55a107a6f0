"""Single files: read as the model they were made from, and refused by name where they are something else."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from seas_runtime.errors import UserError
from seas_train.bases.base import Base, load_base
from seas_train.bases.single_file import CONFIGS, load
from seas_train.bases.single_file.tokenizer import VOCABULARY, clip_tokenizer
from tests.train.single_files import changed, original_names, write_configs


@pytest.fixture
def tiny_configs(
    tiny_base_path: Path, tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny base's shapes and tokenizer in place of Stable Diffusion 1.x's."""
    monkeypatch.setattr(load, "CONFIGS", write_configs(tiny_base_path, tmp_path / "configs"))
    monkeypatch.setattr(load, "clip_tokenizer", lambda beside, what: tiny_base.tokenizer)


@pytest.fixture(scope="module")
def original(tiny_base_path: Path) -> dict[str, Tensor]:
    return original_names(tiny_base_path)


def same_models(one: Base, other: Base) -> bool:
    return all(
        getattr(one, name).state_dict().keys() == getattr(other, name).state_dict().keys()
        and all(
            torch.equal(v, getattr(other, name).state_dict()[k])
            for k, v in getattr(one, name).state_dict().items()
        )
        for name in ("unet", "vae", "text_encoder")
    )


@pytest.mark.usefixtures("tiny_configs")
def test_a_safetensors_file_is_the_model_that_it_was_made_from(
    tiny_base: Base, original: dict[str, Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "dream-1.5.safetensors"
    save_file({**original, "model_ema.decay": torch.zeros(1)}, file)
    base = load_base(file)
    assert same_models(base, tiny_base)
    assert base.geometry == tiny_base.geometry
    assert (base.name, base.path) == ("dream-1.5", file)
    assert base.scheduler.config.beta_end == 0.012
    assert base.fingerprint != load_base(_again(file, original)).fingerprint


def _again(file: Path, original: dict[str, Tensor]) -> Path:
    other = file.with_name("other.safetensors")
    save_file({name: value + 1 for name, value in original.items()}, other)
    return other


@pytest.mark.usefixtures("tiny_configs")
def test_a_ckpt_file_needs_to_be_allowed(
    tiny_base: Base, original: dict[str, Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "sd-v1-4.ckpt"
    torch.save({"state_dict": original, "global_step": 3}, file)
    with pytest.raises(UserError, match=r"is a pickle, which is not read without --allow-pickle"):
        load_base(file)
    base = load_base(file, allow_pickle=True)
    assert same_models(base, tiny_base)
    assert base.licence == "CreativeML OpenRAIL-M"


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.usefixtures("tiny_configs")
def test_a_ckpt_that_would_execute_something_does_not(original: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": original, "callbacks": Bomb(tmp_path / "executed")}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="not executed"):
        load_base(tmp_path / "x.ckpt", allow_pickle=True)
    assert not (tmp_path / "executed").exists()


FIRST = "model.diffusion_model.input_blocks.0.0.weight"
Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def extra(*names: str) -> Change:
    return lambda tensors: changed(tensors, extra=dict.fromkeys(names, (1,)))


def channels(count: int) -> Change:
    return lambda tensors: changed(tensors, extra={FIRST: (16, count, 3, 3)})


def without(*prefixes: str) -> Change:
    return lambda tensors: changed(tensors, without=prefixes)


OTHERS: dict[str, tuple[Change, str]] = {
    "inpainting": (channels(9), "an inpainting model: its U-Net takes 9 channels"),
    "image editing": (channels(8), "an image-editing model"),
    "depth": (channels(5), "a depth model"),
    "upscaler": (channels(7), "an upscaler"),
    "six channels": (channels(6), "takes 6 channels, expected 4"),
    "SDXL": (extra("conditioner.embedders.1.model.ln_final.weight"), "SDXL: it has two text encoders"),
    "LDM text2img-large": (
        extra("cond_stage_model.transformer.attn_layers.layers.0.0.weight"),
        "CompVis' LDM text2img-large, .* a BERT of width 1280, no CLIP",
    ),
    "SD 2": (extra("cond_stage_model.model.ln_final.weight"), "Stable Diffusion 2"),
    "SD 3": (extra("model.diffusion_model.joint_blocks.0.x"), "Stable Diffusion 3"),
    "Flux": (extra("model.diffusion_model.double_blocks.0.x"), "Flux"),
    "LoRA": (extra("lora_unet_down_blocks_0.weight"), "a LoRA"),
    "ControlNet": (extra("control_model.time_embed.0.weight"), "a ControlNet"),
    "a U-Net of diffusers": (extra("down_blocks.0.resnets.0.conv1.weight"), "one part in diffusers' naming"),
    "no VAE": (without("first_stage_model."), "found no VAE"),
    "no text encoder": (without("cond_stage_model."), "found no text encoder"),
    "nothing of it": (without("first", "cond", "model"), "no U-Net .* and no VAE .* and no text encoder"),
    "a weight is missing": (without("model.diffusion_model.out.2.weight"), "weights .*are missing"),
    "another size": (channels(4), "could not be loaded as Stable Diffusion 1.x"),
}


@pytest.mark.usefixtures("tiny_configs")
@pytest.mark.parametrize("name", OTHERS)
def test_other_models_are_refused_by_name(name: str, original: dict[str, Tensor], tmp_path: Path) -> None:
    change, expected = OTHERS[name]
    tensors = change(original)
    if name == "another size":
        tensors[FIRST] = torch.zeros(24, 4, 3, 3)
    save_file(tensors or {"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=expected) as caught:
        load_base(tmp_path / "model.safetensors")
    assert str(caught.value).startswith("base model")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("model.safetensors", "found a broken one"), ("model.onnx", "expected a .safetensors")],
)
def test_other_files_are_refused(name: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(UserError, match=expected):
        load_base(tmp_path / name)


SHARED = Path(__file__).parents[3] / "shared" / "weights" / VOCABULARY


@pytest.mark.skipif(not SHARED.is_file(), reason="CLIP's vocabulary is not beside the repository")
def test_the_tokenizer_is_clips(tmp_path: Path) -> None:
    """Known ids of CLIP's vocabulary."""
    shutil.copy(SHARED, tmp_path)
    tokenizer = clip_tokenizer(tmp_path, "base")
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("", padding="max_length").input_ids == [49406] + [49407] * 76
    assert len(tokenizer("object", add_special_tokens=False).input_ids) == 1


def test_a_tokenizer_folder_beside_the_file_is_taken(tiny_base_path: Path, tiny_base: Base) -> None:
    found = clip_tokenizer(tiny_base_path, "base")
    assert found.get_vocab() == tiny_base.tokenizer.get_vocab()


def test_a_file_without_a_tokenizer_says_what_to_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("seas_train.bases.single_file.tokenizer.HUB_NAME", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=rf"base x: expected a tokenizer beside .*{VOCABULARY}"):
        clip_tokenizer(tmp_path, "base x")


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"#version\ni n\n")], ids=["no gzip", "too short"]
)
def test_a_broken_vocabulary_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / VOCABULARY).write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        clip_tokenizer(tmp_path, "base")


def test_the_shapes_are_stable_diffusions() -> None:
    """The published numbers of parameters: 859.5, 83.7 and 123.1 million."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIGS / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(CONFIGS / "vae"))
        text = CLIPTextModel(CLIPTextConfig.from_pretrained(CONFIGS / "text_encoder"))
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (unet, vae, text)]
    assert counts == [859_520_964, 83_653_863, 123_060_480]
