"""Model folders in diffusers' format: checked before anything large is read, then loaded."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_runtime.packages import broken_import, excerpt
from seas_train.bases.configurations import CONFIG_FILES, read_configuration, read_index
from seas_train.bases.staging import staged, used_files
from seas_train.bases.weight_files import WEIGHTED, find_weights
from seas_train.foreign_files import is_missing
from seas_train.optional_packages import hide_broken_packages

COMPONENTS = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")
EPSILON, V_PREDICTION = "epsilon", "v_prediction"
"""Values of a scheduler's `prediction_type` that are covered: the noise, or v."""
TEXT2IMG_LARGE = (
    "CompVis' LDM text2img-large, which the published code of AnoGen and AnomalyDiffusion trains on: its "
    "text encoder is a BERT of width 1280, no CLIP"
)
"""The base of other people's checkpoints, told by name."""


def component_folders(path: Path) -> dict[str, Path]:
    """Where the components of one whole model lie."""
    return {component: path / component for component in COMPONENTS}


def check_folder(path: Path, what: str, *, allow_pickle: bool = False) -> None:
    """Check that a folder holds a Stable Diffusion 1.x model, from its JSON files alone.

    Raises:
        UserError: naming the file, what was expected in it, and what was found.
    """
    check_index(path, what)
    check_components(component_folders(path), what, allow_pickle=allow_pickle)


def check_index(path: Path, what: str) -> None:
    """Check that a folder's `model_index.json` is that of a Stable Diffusion 1.x model.

    A safety checker and a feature extractor may be named there or not: they are not used.

    Raises:
        UserError: it is missing, or of another kind of model.
    """
    index_file = path / "model_index.json"
    if is_missing(index_file):
        raise UserError(
            f"{what}: {index_file} is missing; expected a Stable Diffusion 1.x model in diffusers' format"
        )
    kind = read_index(index_file)
    if kind != "StableDiffusionPipeline":
        raise UserError(
            f"{what}: expected a StableDiffusionPipeline (Stable Diffusion 1.x), {index_file} says {kind}"
            f"{_hint(kind)}; use a Stable Diffusion 1.x model such as CompVis/stable-diffusion-v1-4"
        )


def check_components(folders: Mapping[str, Path], what: str, *, allow_pickle: bool = False) -> None:
    """Check that every component is there, is of the right kind, and fits the others.

    Args:
        folders: each component's folder, by its name.
        what: the model, for messages.
        allow_pickle: take `.bin` files where there are no safetensors; see `seas_train.bases.tensor_files`.

    Raises:
        UserError: naming the file, what was expected in it, and what was found.
    """
    configs = {}
    for component, folder in folders.items():
        config_file = folder / CONFIG_FILES[component]
        if is_missing(config_file):
            raise UserError(f"{what}: {config_file} is missing; expected the folder of a whole model")
        configs[component] = read_configuration(component, folder, what)
        if component in WEIGHTED:
            find_weights(component, folder, what, allow_pickle=allow_pickle)
    _check_configs(configs, what)


def _hint(kind: str) -> str:
    if kind == "LDMTextToImagePipeline":
        return f", which is {TEXT2IMG_LARGE}"
    if "XL" in kind:
        return ", which is SDXL: it has two text encoders and other U-Net inputs"
    if "Inpaint" in kind:
        return ", an inpainting model"
    if "3" in kind or "Flux" in kind:
        return ", whose denoiser is a transformer without the U-Net's features that the mask head reads"
    return ""


def _check_configs(configs: Mapping[str, dict[str, Any]], what: str) -> None:
    unet, vae, text, scheduler = (
        configs[component] for component in ("unet", "vae", "text_encoder", "scheduler")
    )
    latent_channels = vae.get("latent_channels", 4)
    if unet.get("in_channels", 4) == 2 * latent_channels + 1:
        raise UserError(
            f"{what}: the U-Net takes {unet['in_channels']} channels, so this is an inpainting model; "
            f"expected {latent_channels}: use the plain model it was made from"
        )
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in (EPSILON, V_PREDICTION):
        raise UserError(
            f"{what}: scheduler: prediction_type: expected {EPSILON} or {V_PREDICTION}, found {prediction}; "
            "use a Stable Diffusion 1.x or 2.x model"
        )
    expectations: list[tuple[str, object, object]] = [
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
            raise UserError(
                f"{what}: {key}: expected {expected}, found {found}; use a Stable Diffusion 1.x model"
            )


def load_components(folders: Mapping[str, Path], what: str) -> dict[str, Any]:
    """Tokenizer, text encoder, VAE, U-Net (float32, evaluation mode) and noise schedule of checked folders.

    Raises:
        UserError: a file is broken, or weights are missing or do not fit the configuration.
    """
    components = {name: load_component(name, folder, what) for name, folder in folders.items()}
    check_vocabulary(components, what)
    return components


def check_vocabulary(components: Mapping[str, Any], what: str) -> None:
    """Check that the text encoder has an embedding for each of the tokenizer's tokens.

    Raises:
        UserError: it has fewer.
    """
    if components["text_encoder"].get_input_embeddings().weight.shape[0] < len(components["tokenizer"]):
        raise UserError(
            f"{what}: the tokenizer has more tokens than the text encoder has embeddings; they do not match"
        )


def load_component(name: str, folder: Path, what: str) -> Any:
    """One component of a checked folder; models are float32, in evaluation mode, on the CPU.

    Raises:
        UserError: a file is broken, or weights are missing or do not fit the configuration.
    """
    try:
        with quiet_transformers(), staged(name, folder, what) as readable:
            if name not in WEIGHTED:
                return _at_home(_kinds()[name].from_pretrained(str(readable), local_files_only=True), folder)
            model, found = _kinds()[name].from_pretrained(
                str(readable), use_safetensors=True, output_loading_info=True, local_files_only=True
            )
    except UserError:
        raise
    except Exception as error:  # diffusers and transformers raise anything for a broken file
        if culprit := broken_import(error):
            raise UserError(f"{culprit}. It is not the base's fault: {what}") from error
        raise UserError(f"{what}: {folder} could not be loaded: {excerpt(str(error))}") from error
    missing = sorted(map(str, found["missing_keys"]))
    if missing:  # which the libraries would fill with random numbers
        raise UserError(
            f"{what}: {folder} could not be loaded: {len(missing)} of its weights are missing: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
        )
    return _at_home(model.float().eval(), folder)


def _at_home(loaded: Any, folder: Path) -> Any:
    """With the folder's own path where the library notes from where it loaded."""
    if hasattr(loaded, "register_to_config"):
        if "_name_or_path" in loaded.config:
            loaded.register_to_config(_name_or_path=str(folder))
    else:
        loaded.name_or_path = str(folder)
    return loaded


def _kinds() -> dict[str, Any]:
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    return {
        "tokenizer": CLIPTokenizer,
        "text_encoder": CLIPTextModel,
        "vae": AutoencoderKL,
        "unet": UNet2DConditionModel,
        "scheduler": DDPMScheduler,
    }


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' bars for weights that load or save in an instant, and optional packages that are
    broken."""
    hide_broken_packages()
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


MODEL_FILES = (
    *(f"{name}/config.json" for name in ("unet", "vae", "text_encoder")),
    *(f"{name}/diffusion_pytorch_model*.safetensors*" for name in ("unet", "vae")),
    "text_encoder/model*.safetensors*",
    "scheduler/scheduler_config.json",
    "tokenizer/*_config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer/added_tokens.json",
    "tokenizer/tokenizer.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
)
"""What diffusers and transformers write of a Stable Diffusion 1.x model, beside `model_index.json`."""


def folder_fingerprint(path: Path) -> str:
    """sha256 over the names and contents of the files that are read of a model's folder."""
    digest = hashlib.sha256()
    files = [path / "model_index.json"]
    for component in COMPONENTS:
        if (path / component).is_dir():
            files += used_files(component, path / component, str(path))
    for file in files:
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def model_index(scheduler: str) -> dict[str, Any]:
    """Contents of `model_index.json` for a Stable Diffusion 1.x folder with a `scheduler` of this class."""
    import diffusers

    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
