"""Checkpoints: a base fine-tuned on one product, as a folder that export reads and that any diffusers tool
can open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seas_runtime.errors import UserError
from seas_runtime.files import read_json, replace_directory, write_json
from seas_train.bases.base import Geometry
from seas_train.bases.model_folders import (
    check_folder,
    component_folders,
    load_components,
    model_index,
    quiet_transformers,
)
from seas_train.methods.seas.mask_head.network.head import MaskHead, load_mask_head, save_mask_head
from seas_train.methods.seas.prompts import GOOD, encode_prompts
from seas_train.methods.seas.result import FineTuned

SCHEMA = 1
DESCRIPTION_FILE = "seas.json"
REFERENCES_FILE = "references.safetensors"
MASK_HEAD_FOLDER = "mask_head"
_KEYS: dict[str, type | tuple[type, ...]] = {
    "method": str,
    "product": str,
    "defects": list,
    "normal_token": str,
    "prompts": dict,
    "base": dict,
    "preprocessing": dict,
    "layout": str,
    "data_fingerprint": str,
    "normals": int,
    "shots": dict,
    "training": dict,
    "losses": dict,
    "geometry": dict,
    "generation": dict,
    "fingerprint": str,
}


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: float32, on the CPU, in evaluation mode."""

    path: Path
    tokenizer: Any
    text_encoder: Any
    vae: Any
    unet: Any
    scheduler: Any
    mask_head: MaskHead
    references: Tensor
    """[n, C, h, w] f32: VAE posterior means of the training normals, unscaled but where
    `generation.references` says otherwise."""
    geometry: Geometry
    meta: Mapping[str, Any]
    """What `seas.json` says."""

    @property
    def product(self) -> str:
        """The product's name."""
        return str(self.meta["product"])

    @property
    def defects(self) -> tuple[str, ...]:
        """The defects' names, in the product's order."""
        return tuple(defect["name"] for defect in self.meta["defects"])

    @property
    def prompts(self) -> dict[str, str]:
        """The prompt of "good" and of each defect."""
        return dict(self.meta["prompts"])

    @property
    def fingerprint(self) -> str:
        """sha256 over everything that the checkpoint was made from."""
        return str(self.meta["fingerprint"])

    def context(self, prompt: str) -> Tensor:
        """A prompt as the U-Net takes it, [1, L, D] f32; "" is the unconditional one."""
        return encode_prompts(self.tokenizer, self.text_encoder, [prompt], self.geometry.context_length)


def save_checkpoint(
    path: Path, fine_tuned: FineTuned, mask_head: MaskHead, references: Tensor, description: Mapping[str, Any]
) -> None:
    """Write a checkpoint folder, whole or not at all; an older one is replaced.

    Args:
        path: the folder to make.
        fine_tuned: the models after stage 1.
        mask_head: the mask head after stage 2.
        references: [n, C, h, w], unscaled latents of the training normals.
        description: what `seas.json` says beside the schema, the defects' tokens, prompts, base and geometry.

    Raises:
        UserError: the folder cannot be written.
    """
    models, prompts = fine_tuned.models, fine_tuned.prompts
    for model in (models.unet, models.vae):  # files hold tensors in their plain order, whatever memory has
        model.to(memory_format=torch.contiguous_format)
    with replace_directory(path) as folder, quiet_transformers():
        for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
            getattr(models, name).save_pretrained(folder / name)
        save_mask_head(mask_head, folder / MASK_HEAD_FOLDER)
        save_file({"latents": references.detach().float().cpu().contiguous()}, folder / REFERENCES_FILE)
        write_json(folder / "model_index.json", model_index("DDPMScheduler"))
        write_json(
            folder / DESCRIPTION_FILE,
            {
                "schema": SCHEMA,
                "method": "seas",
                "defects": [
                    {"name": name, "tokens": list(prompts.defect_tokens(name))} for name in prompts.defects
                ],
                "normal_token": prompts.normal_token,
                "prompts": prompts.texts,
                "base": {"name": models.name, "fingerprint": models.fingerprint, "licence": models.licence},
                "geometry": models.geometry.to_dict(),
                **description,
            },
        )


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder.

    Raises:
        UserError: a file is missing or broken, or they do not fit together; names the file and what was
        expected.
    """
    what = f"checkpoint {path}"
    meta = read_description(path)
    check_folder(path, what)
    components = load_components(component_folders(path), what)
    geometry = Geometry.from_dict(meta["geometry"])
    mask_head = load_mask_head(path / MASK_HEAD_FOLDER)
    taps = (geometry.tap_coarse_channels, geometry.tap_fine_channels, geometry.vae_tap_channels)
    read = mask_head.architecture
    if taps != (read.tap_coarse_channels, read.tap_fine_channels, read.vae_tap_channels):
        raise UserError(
            f"{what}: the mask head reads other features than this U-Net and VAE give: expected {taps}"
        )
    vocabulary = components["tokenizer"].get_vocab()
    tokens = [meta["normal_token"], *(token for defect in meta["defects"] for token in defect["tokens"])]
    unknown = [token for token in tokens if token not in vocabulary]
    if unknown:
        raise UserError(
            f"{what}: its tokenizer does not know {', '.join(unknown)}; expected it to be the fine-tuned one"
        )
    return Checkpoint(
        path=path,
        mask_head=mask_head,
        references=_read_references(path / REFERENCES_FILE, geometry),
        geometry=geometry,
        meta=meta,
        **components,
    )


def read_description(path: Path) -> dict[str, Any]:
    """What a checkpoint's `seas.json` says, checked; loads no model.

    Raises:
        UserError: the folder is no checkpoint, or its description is incomplete.
    """
    file = path / DESCRIPTION_FILE
    if not path.is_dir():
        raise UserError(f"checkpoint {path}: no such folder; expected one that `seas-export train` wrote")
    if not file.is_file():
        raise UserError(
            f"checkpoint {path}: {DESCRIPTION_FILE} is missing; "
            "expected a folder that `seas-export train` wrote"
        )
    meta = read_json(file, "checkpoint description")
    if not isinstance(meta, dict):
        raise UserError(f"{file}: expected a JSON object, found {type(meta).__name__}")
    if meta.get("schema") != SCHEMA:
        raise UserError(
            f"{file}: schema: expected {SCHEMA}, found {meta.get('schema')!r}; train again with this version"
        )
    for key, kind in _KEYS.items():
        if not isinstance(meta.get(key), kind):
            found = type(meta[key]).__name__ if key in meta else "nothing"
            raise UserError(f"{file}: {key}: expected {_name(kind)}, found {found}; train again")
    names = [d.get("name") if isinstance(d, dict) else None for d in meta["defects"]]
    if not names or set(meta["prompts"]) != {GOOD, *names}:
        raise UserError(
            f"{file}: prompts: expected one for {GOOD} and each of the defects {names}, "
            f"found {sorted(meta['prompts'])}"
        )
    if any(not isinstance(d.get("tokens"), list) for d in meta["defects"]):
        raise UserError(f"{file}: defects: expected each to list its tokens; train again")
    return meta


def _name(kind: type | tuple[type, ...]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(
        {str: "text", list: "a list", dict: "an object", int: "a whole number"}[k] for k in kinds
    )


def _read_references(file: Path, geometry: Geometry) -> Tensor:
    expected = (geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    try:
        references: Tensor = load_file(file)["latents"]
    except (OSError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{file}: expected the tensor `latents` in a safetensors file, found {error}"
        ) from error
    if references.dtype != torch.float32 or references.ndim != 4 or tuple(references.shape[1:]) != expected:
        found = f"{references.dtype} {tuple(references.shape)}"
        raise UserError(
            f"{file}: latents: expected float32 of shape [n, {', '.join(map(str, expected))}], found {found}"
        )
    if references.shape[0] == 0 or not bool(references.isfinite().all()):
        raise UserError(f"{file}: latents: expected at least one image, all finite; train again")
    return references
