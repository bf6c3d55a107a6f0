from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seas_runtime.errors import UserError
from seas_train.bases.base import Base, Geometry, frozen_unet, load_base
from seas_train.methods.seas.taps import TapGeometry
from tests.bases import CONTEXT_LENGTH, IMAGE_SIZE, LATENT_SIZE, write_tiny_base


def edit(*parts: str, **values: Any) -> Callable[[Path], None]:
    """A change of some keys of a JSON file of the base."""

    def apply(base: Path) -> None:
        file = base.joinpath(*parts)
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return apply


def remove(*parts: str) -> Callable[[Path], None]:
    def apply(base: Path) -> None:
        path = base.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return apply


def write(text: str, *parts: str) -> Callable[[Path], None]:
    return lambda base: base.joinpath(*parts).write_text(text) and None


def truncate(*parts: str) -> Callable[[Path], None]:
    def apply(base: Path) -> None:
        file = base.joinpath(*parts)
        file.write_bytes(file.read_bytes()[:1000])

    return apply


def pickle_only(base: Path) -> None:
    folder = base / "unet"
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "diffusion_pytorch_model.bin")


def lose_a_weight(base: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["conv_out.weight"]
    save_file(state, file, metadata={"format": "pt"})


BAD_BASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no index": (remove("model_index.json"), "model_index.json is missing"),
    "index is no JSON": (write("{", "model_index.json"), "model_index.json"),
    "index is a list": (write("[]", "model_index.json"), "expected a JSON object"),
    "SDXL": (edit("model_index.json", _class_name="StableDiffusionXLPipeline"), "SDXL"),
    "LDM text2img-large": (
        edit("model_index.json", _class_name="LDMTextToImagePipeline"),
        "trains on: its text encoder is a BERT of width 1280, no CLIP",
    ),
    "Flux": (edit("model_index.json", _class_name="FluxPipeline"), "says FluxPipeline"),
    "inpainting": (edit("unet", "config.json", in_channels=9), "inpainting model"),
    "x0 prediction": (
        edit("scheduler", "scheduler_config.json", prediction_type="sample"),
        "prediction_type: expected epsilon or v_prediction, found sample",
    ),
    "SDXL's U-Net": (edit("unet", "config.json", addition_embed_type="text_time"), "more than a prompt"),
    "another VAE": (edit("vae", "config.json", _class_name="AutoencoderTiny"), "expected AutoencoderKL"),
    "VAE of 16 channels": (edit("vae", "config.json", latent_channels=16), "in_channels"),
    "T5 encoder": (edit("text_encoder", "config.json", model_type="t5"), "expected clip_text_model"),
    "another text encoder": (edit("text_encoder", "config.json", hidden_size=32), "cross_attention_dim"),
    "no U-Net": (remove("unet"), "unet"),
    "no VAE config": (remove("vae", "config.json"), "config.json is missing"),
    "no tokenizer": (remove("tokenizer"), "tokenizer"),
    "no scheduler": (remove("scheduler"), "scheduler_config.json is missing"),
    "no weights": (remove("unet", "diffusion_pytorch_model.safetensors"), "found no weights"),
    "pickled weights": (pickle_only, "pickled weights are not read without --allow-pickle"),
    "SD 3": (edit("model_index.json", _class_name="StableDiffusion3Pipeline"), "a transformer"),
    "a weight is missing": (lose_a_weight, "1 of its weights are missing: conv_out.weight"),
    "truncated weights": (truncate("vae", "diffusion_pytorch_model.safetensors"), "could not be loaded"),
    "weights of another shape": (edit("unet", "config.json", block_out_channels=[16, 16, 32, 64]), "unet"),
    "tokenizer without vocabulary": (remove("tokenizer", "vocab.json"), "tokenizer"),
}


@pytest.mark.parametrize("name", BAD_BASES)
def test_a_bad_base_is_refused_by_name(name: str, tiny_base_path: Path, tmp_path: Path) -> None:
    spoil, expected = BAD_BASES[name]
    base = tmp_path / "base"
    shutil.copytree(tiny_base_path, base)
    spoil(base)
    with pytest.raises(UserError) as caught:
        load_base(base)
    assert expected in str(caught.value)
    assert "base base" in str(caught.value) or str(base) in str(caught.value)


def test_an_unknown_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder; expected 'micro'"):
        load_base(tmp_path / "nothing" / "here" / "at all")


def test_pickled_weights_are_the_same_ones(tiny_base_path: Path, tiny_base: Base, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    base = shutil.copytree(tiny_base_path, tmp_path / "base")
    for component, safe, pickled in (
        ("unet", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        ("vae", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        ("text_encoder", "model.safetensors", "pytorch_model.bin"),
    ):
        torch.save(load_file(base / component / safe), base / component / pickled)
        (base / component / safe).unlink()
    with pytest.raises(UserError, match="--allow-pickle"):
        load_base(base)
    loaded = load_base(base, allow_pickle=True)
    for name in ("unet", "vae", "text_encoder"):
        expected = getattr(tiny_base, name).state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in getattr(loaded, name).state_dict().items())


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_a_base_that_would_execute_something_does_not(tiny_base_path: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base_path, tmp_path / "base")
    pickle_only(base)
    torch.save({"w": Bomb(tmp_path / "executed")}, base / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="not executed"):
        load_base(base, allow_pickle=True)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("named", [True, False])
def test_safety_checker_and_feature_extractor_may_be_missing(
    named: bool, tiny_base_path: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base_path, tmp_path / "base")
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    extractor = ["transformers", "CLIPImageProcessor"]
    extra = {"safety_checker": checker, "feature_extractor": extractor, "requires_safety_checker": True}
    edit("model_index.json", **(extra if named else {"safety_checker": [None, None]}))(base)
    assert load_base(base).geometry.latent_size == LATENT_SIZE


def test_a_hub_out_of_reach_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(UserError, match=r"CompVis/stable-diffusion-v1-4.*did not give it.*pass its folder"):
        load_base("CompVis/stable-diffusion-v1-4")


@pytest.mark.parametrize("allow_pickle", [True, False])
def test_a_hub_name_is_downloaded_with_the_hubs_own_settings(
    allow_pickle: bool, tiny_base_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[tuple[str, list[str]]] = []

    def download(name: str, *, allow_patterns: list[str]) -> str:  # no token, no cache, no network of ours
        asked.append((name, allow_patterns))
        return str(tiny_base_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    base = load_base("nota-ai/bk-sdm-tiny", allow_pickle=allow_pickle)
    ((name, patterns),) = asked
    assert (base.name, name) == ("nota-ai/bk-sdm-tiny", "nota-ai/bk-sdm-tiny")
    assert base.licence == "CreativeML OpenRAIL-M"
    assert "unet/*model.safetensors" in patterns
    assert ("unet/*model.bin" in patterns) is allow_pickle
    assert not any("safety" in pattern for pattern in patterns)


def test_offline_mode_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        load_base("someone/never-downloaded-model")


def test_geometry_is_read_from_the_base(tiny_base: Base) -> None:
    geometry = tiny_base.geometry
    assert (geometry.image_size, geometry.latent_size, geometry.latent_factor) == (IMAGE_SIZE, LATENT_SIZE, 8)
    assert (geometry.context_length, geometry.context_width) == (CONTEXT_LENGTH, 16)
    assert TapGeometry.of(tiny_base.unet, tiny_base.vae) == TapGeometry(32, 16, (16, 16, 8))
    assert geometry.at(128).latent_size == 16
    assert Geometry.from_dict(geometry.to_dict()) == geometry


def test_weights_are_float32_even_from_a_half_precision_folder(tiny_base_path: Path, tmp_path: Path) -> None:
    base = load_base(tiny_base_path)
    for name in ("unet", "vae", "text_encoder"):
        getattr(base, name).half().save_pretrained(tmp_path / "half" / name)
    for name in ("tokenizer", "scheduler", "model_index.json"):
        source, target = tiny_base_path / name, tmp_path / "half" / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    half = load_base(tmp_path / "half")
    dtypes = {p.dtype for model in (half.unet, half.vae, half.text_encoder) for p in model.parameters()}
    assert dtypes == {torch.float32}


def test_the_fingerprint_is_of_the_contents(tiny_base: Base, tiny_base_path: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base_path, tmp_path / "copy")
    assert load_base(tmp_path / "copy").fingerprint == tiny_base.fingerprint
    assert load_base(write_tiny_base(tmp_path / "other", seed=1)).fingerprint != tiny_base.fingerprint


@pytest.mark.parametrize(
    ("name", "card", "licence"),
    [
        ("base", "---\nlicense: creativeml-openrail-m\n---\n# A model\n", "CreativeML OpenRAIL-M"),
        ("base", "---\nlicense: apache-2.0\n---\n", "Apache-2.0"),
        ("stable-diffusion-v1-4", None, "CreativeML OpenRAIL-M"),
        ("base", "# A model without a licence\n", "unknown"),
    ],
)
def test_the_licence_is_the_cards(
    name: str, card: str | None, licence: str, tiny_base_path: Path, tmp_path: Path
) -> None:
    base = tmp_path / name
    shutil.copytree(tiny_base_path, base)
    if card is not None:
        (base / "README.md").write_text(card)
    assert load_base(base).licence == licence


def test_a_large_frozen_base_keeps_little_for_the_backward_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is computed again, to the same gradients."""
    path = write_tiny_base(tmp_path / "base")
    gradients, kept = [], []
    for small in (True, False):
        monkeypatch.setattr("seas_train.bases.base.is_small", lambda base, small=small: small)
        base = load_base(path)
        unet = frozen_unet(base)
        assert not unet.training
        random = torch.Generator().manual_seed(0)
        size, geometry = LATENT_SIZE, base.geometry
        latents = torch.randn(2, geometry.latent_channels, size, size, generator=random)
        context = torch.randn(2, CONTEXT_LENGTH, geometry.context_width, generator=random)
        saved: list[int] = []

        def keep(tensor: torch.Tensor, saved: list[int] = saved) -> torch.Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = unet(latents, 3, context.requires_grad_(True)).sample.square().mean()
        kept.append(sum(saved))
        loss.backward()
        assert not any(parameter.requires_grad for parameter in unet.parameters())
        gradients.append(context.grad)
    assert torch.allclose(*gradients, atol=1e-6)
    assert kept[1] < kept[0] / 4
