"""Bases: Stable Diffusion 1.x models as folders or single files, checked before training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_train.bases.micro import MICRO_PATH
from seas_train.bases.model_folders import (
    COMPONENTS,
    check_folder,
    component_folders,
    folder_fingerprint,
    load_components,
)
from seas_train.bases.weight_files import WEIGHTED, find_weights
from seas_train.foreign_files import TEXT_LIMIT, WEIGHTS_LIMIT, check_file, is_missing

MICRO = "micro"
SMALL_BASE_PARAMETERS = 50_000_000
"""U-Nets below this are trained like `micro`; SD 1.4's has 860 million, the smallest BK-SDM's 320 million."""
# Licence identifiers of model cards, as people know them.
_LICENCES = {"creativeml-openrail-m": "CreativeML OpenRAIL-M", "apache-2.0": "Apache-2.0", "mit": "MIT"}
_OPENRAIL_NAMES = ("stable-diffusion-v1", "sd-v1", "v1-5-pruned", "bk-sdm")
_FORMER_KEYS = {"tap_coarse_channels", "tap_fine_channels", "vae_tap_channels"}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Geometry:
    """The sizes that depend on the base. Nothing else in the toolkit may assume one."""

    image_size: int
    """Height and width of an image in pixels."""
    latent_size: int
    """Height and width of a latent: image_size / latent_factor."""
    latent_channels: int
    latent_factor: int
    """Pixels of an image's side for one of a latent's."""
    scaling_factor: float
    """Scaled latents, as the U-Net sees them, are the VAE's times this."""
    context_length: int
    """L: tokens that a prompt is padded to."""
    context_width: int
    """D: width of the text encoder's hidden states."""

    def at(self, image_size: int) -> Geometry:
        """The same base working on images of another size."""
        return replace(self, image_size=image_size, latent_size=image_size // self.latent_factor)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Geometry:
        """Read what `to_dict` wrote; the channels that earlier versions wrote too are left out.

        Raises:
            UserError: a key is missing or unknown.
        """
        expected = {field.name for field in fields(cls)}
        if set(values) - _FORMER_KEYS != expected:
            raise UserError(f"geometry: expected the keys {sorted(expected)}, found {sorted(values)}")
        return cls(**{key: values[key] for key in expected})


@dataclass(frozen=True)
class Base:
    """A loaded base: float32 weights on the CPU, in evaluation mode."""

    name: str
    path: Path
    fingerprint: str
    """sha256 over the names and contents of the files that make the model."""
    licence: str
    """From the model card or the name; "unknown" where neither says."""
    geometry: Geometry
    tokenizer: Any
    """`transformers.CLIPTokenizer`."""
    text_encoder: Any
    """`transformers.CLIPTextModel`."""
    vae: Any
    """`diffusers.AutoencoderKL`."""
    unet: Any
    """`diffusers.UNet2DConditionModel`."""
    scheduler: Any
    """`diffusers.DDPMScheduler`: the noise schedule that the base was trained with."""


def load_base(name_or_path: str | Path, *, allow_pickle: bool = False) -> Base:
    """Load `micro`, a diffusers folder, a single file, or a model of the Hugging Face hub (`owner/name`).

    Args:
        name_or_path: which.
        allow_pickle: take pickled weights (`.bin`, `.ckpt`) where there are no others. Nothing of them is
            executed; see `seas_train.bases.tensor_files`.

    Raises:
        UserError: there is no such base, a file of it is missing or broken, or it is no Stable Diffusion 1.x
            model that predicts noise or v (SDXL and inpainting models are told by name).
    """
    path = find_base(name_or_path, allow_pickle=allow_pickle)
    name = base_name(name_or_path, path)
    what = f"base {name}"
    if path.is_file():
        from seas_train.bases.single_file import load_single_file

        components = load_single_file(path, what, allow_pickle=allow_pickle)
        fingerprint = sha256_file(path)
    else:
        check_folder(path, what, allow_pickle=allow_pickle)
        components = load_components(component_folders(path), what)
        fingerprint = folder_fingerprint(path)
    return Base(
        name=name,
        path=path,
        fingerprint=fingerprint,
        licence=base_licence(name, path),
        geometry=read_geometry(components, what),
        **components,
    )


def base_name(name_or_path: str | Path, path: Path) -> str:
    """A base's name in what is made from it: of a local folder its last part, of a file that without its
    ending."""
    if path == MICRO_PATH:
        return MICRO
    if path.is_file():
        return path.stem
    return path.resolve().name if Path(name_or_path).expanduser().is_dir() else str(name_or_path)


def find_base(name_or_path: str | Path, *, allow_pickle: bool = False) -> Path:
    """The folder or file that a base's name or path means.

    A hub name is downloaded: configurations, tokenizer and safetensors, `.bin` files where `allow_pickle`
    says so. huggingface_hub's own environment decides where to, with which token, and whether a network may
    be used at all (`HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`).

    Raises:
        UserError: it is nothing of the four, or the hub cannot be reached.
    """
    if str(name_or_path) == MICRO:
        return MICRO_PATH
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if not is_missing(path):
        check_file(path, "a folder or a file with a model", WEIGHTS_LIMIT, "base")
        return path
    if _HUB_NAME.fullmatch(str(name_or_path)) is None:
        raise UserError(
            f"base {name_or_path}: no such folder; expected '{MICRO}', a folder in diffusers' format, "
            "a .safetensors or .ckpt file of Stable Diffusion 1.x, "
            "or a Hugging Face name such as CompVis/stable-diffusion-v1-4"
        )
    return _download(str(name_or_path), allow_pickle)


def _download(name: str, allow_pickle: bool) -> Path:
    import huggingface_hub

    patterns = ["model_index.json", "README.md"]
    patterns += [f"{component}/*.{kind}" for component in COMPONENTS for kind in ("json", "txt")]
    patterns += [f"{component}/*model.safetensors" for component in WEIGHTED]
    if allow_pickle:
        patterns += [f"{component}/*model.bin" for component in WEIGHTED]
    try:
        found = Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
        if lacking := [component for component in WEIGHTED if not _has_weights(component, found / component)]:
            # Variants and shards, where there is nothing else: a model may bring ten of them.
            patterns += [f"{component}/*model*.safetensors" for component in lacking]
            found = Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
        return found
    except Exception as error:  # every way in which a hub can be out of reach ends here
        offline = "HF_HUB_OFFLINE is set; " if huggingface_hub.constants.HF_HUB_OFFLINE else ""
        raise UserError(
            f"base {name}: no such folder, and the Hugging Face hub did not give it "
            f"({type(error).__name__}); {offline}download it where there is a network and pass its folder "
            f"(for a gated model with HF_TOKEN set), or use '{MICRO}'"
        ) from error


def _has_weights(component: str, folder: Path) -> bool:
    """Whether a folder holds a component's weights, of whatever kind."""
    try:
        return bool(find_weights(component, folder, "", allow_pickle=True).files)
    except UserError:
        return False


def read_geometry(components: Mapping[str, Any], what: str) -> Geometry:
    """The sizes of a loaded model.

    Raises:
        UserError: the U-Net's sample size is not one integer.
    """
    unet, vae, text_encoder = components["unet"], components["vae"], components["text_encoder"]
    factor = 2 ** sum(block.upsamplers is not None for block in vae.decoder.up_blocks)
    latent_size = unet.config.sample_size
    if not isinstance(latent_size, int):
        raise UserError(f"{what}: unet: sample_size: expected one integer, found {latent_size}")
    return Geometry(
        image_size=latent_size * factor,
        latent_size=latent_size,
        latent_channels=vae.config.latent_channels,
        latent_factor=factor,
        scaling_factor=vae.config.scaling_factor,
        context_length=min(
            components["tokenizer"].model_max_length, text_encoder.config.max_position_embeddings
        ),
        context_width=text_encoder.config.hidden_size,
    )


def unet_reduction(unet: Any) -> int:
    """The factor by which the U-Net's lowest level shrinks a latent's side; the side is a multiple."""
    return int(2 ** sum(block.downsamplers is not None for block in unet.down_blocks))


def base_licence(name: str, path: Path) -> str:
    """A base's licence: from its model card, or from its name where that is known; else "unknown"."""
    card = path / "README.md"
    if card.is_file():
        with card.open(encoding="utf-8", errors="replace") as file:
            text = file.read(TEXT_LIMIT)
        found = re.search(r"^license:\s*[\"']?([\w.-]+)", text, re.M)
        if found:
            return _LICENCES.get(found[1].lower(), found[1])
    if name == MICRO:
        return "Apache-2.0"
    if any(known in name.lower() for known in _OPENRAIL_NAMES):
        return _LICENCES["creativeml-openrail-m"]
    return "unknown"


def is_small(base: Base) -> bool:
    """Whether a base is trained like `micro` rather than like Stable Diffusion 1.x."""
    parameters: int = sum(parameter.numel() for parameter in base.unet.parameters())
    return parameters < SMALL_BASE_PARAMETERS


def frozen_unet(base: Base) -> Any:
    """Return a base's U-Net as methods take it that train what it is fed: its weights stay as they are.

    What the backward pass needs is computed again where the base is as large as Stable Diffusion 1.x: a third
    more time, in place of memory that grows with each picture of a step.
    """
    if not is_small(base):
        base.unet.enable_gradient_checkpointing()
    return base.unet.requires_grad_(False).eval()
