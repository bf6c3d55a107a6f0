"""Folders in diffusers' format: what is in them, checked before anything large is read, and loaded."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import read_json, sha256_file

COMPONENTS = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")
_CONFIG_FILES = {
    "scheduler": "scheduler_config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
    "unet": "config.json",
    "vae": "config.json",
}
WEIGHTED = ("text_encoder", "unet", "vae")
"""The components that have weights."""


def check_folder(path: Path, what: str) -> None:
    """Check that a folder holds a Stable Diffusion 1.x model, from its JSON files alone.

    Raises:
        UserError: naming the file, what was expected in it, and what was found.
    """
    index_file = path / "model_index.json"
    if not index_file.is_file():
        raise UserError(
            f"{what}: {index_file} is missing; expected a Stable Diffusion 1.x model in diffusers' format"
        )
    index = _object(index_file)
    kind = str(index.get("_class_name", "nothing"))
    if kind != "StableDiffusionPipeline":
        raise UserError(
            f"{what}: expected a StableDiffusionPipeline (Stable Diffusion 1.x), {index_file} says {kind}"
            f"{_hint(kind)}; use a Stable Diffusion 1.x model such as CompVis/stable-diffusion-v1-4"
        )
    for component in COMPONENTS:
        config_file = path / component / _CONFIG_FILES[component]
        if not config_file.is_file():
            raise UserError(f"{what}: {config_file} is missing; expected the folder of a whole model")
        _object(config_file)
        if component in WEIGHTED and not any((path / component).glob("*model*.safetensors*")):
            found = sorted(file.name for file in (path / component).iterdir() if file.suffix != ".json")
            raise UserError(
                f"{what}: expected a .safetensors file in {path / component}, found {found or 'no weights'}; "
                "pickled weights are not read: save the model again with safe_serialization=True"
            )
    _check_configs(path, what)


def _hint(kind: str) -> str:
    if "XL" in kind:
        return ", which is SDXL: it has two text encoders and other U-Net inputs"
    if "Inpaint" in kind:
        return ", an inpainting model"
    return ""


def _check_configs(path: Path, what: str) -> None:
    unet, vae, text, scheduler = (
        _object(path / component / _CONFIG_FILES[component])
        for component in ("unet", "vae", "text_encoder", "scheduler")
    )
    latent_channels = vae.get("latent_channels", 4)
    if unet.get("in_channels", 4) == 2 * latent_channels + 1:
        raise UserError(
            f"{what}: the U-Net takes {unet['in_channels']} channels, so this is an inpainting model; "
            f"expected {latent_channels}: use the plain model it was made from"
        )
    if unet.get("addition_embed_type") is not None or unet.get("class_embed_type") is not None:
        raise UserError(
            f"{what}: the U-Net takes more than a prompt (as SDXL's does); use a Stable Diffusion 1.x model"
        )
    prediction = scheduler.get("prediction_type", "epsilon")
    expectations: list[tuple[str, object, object]] = [
        ("scheduler: prediction_type", "epsilon", prediction),
        ("unet: _class_name", "UNet2DConditionModel", unet.get("_class_name", "UNet2DConditionModel")),
        ("unet: in_channels (the VAE's latent channels)", latent_channels, unet.get("in_channels", 4)),
        ("unet: out_channels (the VAE's latent channels)", latent_channels, unet.get("out_channels", 4)),
        ("vae: _class_name", "AutoencoderKL", vae.get("_class_name", "AutoencoderKL")),
        ("text_encoder: model_type", "clip_text_model", text.get("model_type", "clip_text_model")),
        (
            "unet: cross_attention_dim (the text encoder's hidden_size)",
            text.get("hidden_size", 512),
            unet.get("cross_attention_dim", 1280),
        ),
    ]
    for key, expected, found in expectations:
        if expected != found:
            hint = " (a v-prediction model)" if found == "v_prediction" else ""
            raise UserError(
                f"{what}: {key}: expected {expected}, found {found}{hint}; use a Stable Diffusion 1.x model"
            )


def _object(path: Path) -> dict[str, Any]:
    values = read_json(path, f"{path.parent.name}/{path.name}")
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object, found {json.dumps(values)[:40]}")
    return values


def load_components(path: Path, what: str) -> dict[str, Any]:
    """Tokenizer, text encoder, VAE, U-Net (float32, evaluation mode) and noise schedule of a checked folder.

    Raises:
        UserError: a file is broken, or weights do not fit the configuration.
    """
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    loaders: dict[str, Any] = {
        "tokenizer": CLIPTokenizer.from_pretrained,
        "text_encoder": CLIPTextModel.from_pretrained,
        "vae": AutoencoderKL.from_pretrained,
        "unet": UNet2DConditionModel.from_pretrained,
        "scheduler": DDPMScheduler.from_pretrained,
    }
    components: dict[str, Any] = {}
    for name, load in loaders.items():
        options = {"use_safetensors": True} if name in WEIGHTED else {}
        try:
            with quiet_transformers():
                component = load(str(path / name), **options)
        except Exception as error:  # diffusers and transformers raise anything for a broken file
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"{what}: {path / name} could not be loaded: {reason}") from error
        components[name] = component.float().eval() if name in WEIGHTED else component
    if components["text_encoder"].get_input_embeddings().weight.shape[0] < len(components["tokenizer"]):
        raise UserError(
            f"{what}: the tokenizer has more tokens than the text encoder has embeddings; they do not match"
        )
    return components


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' bars for weights that load or save in an instant."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def folder_fingerprint(path: Path) -> str:
    """sha256 over the names and contents of a model's own files."""
    digest = hashlib.sha256()
    files = [path / "model_index.json"]
    files += [
        file for component in COMPONENTS for file in sorted((path / component).rglob("*")) if file.is_file()
    ]
    for file in files:
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()
