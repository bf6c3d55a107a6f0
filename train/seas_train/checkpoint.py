"""Checkpoints: a base fine-tuned on one product, a folder that export reads and any diffusers tool opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seas_runtime.errors import UserError
from seas_runtime.files import read_json, write_json
from seas_runtime.manifest.types import GOOD
from seas_runtime.outputs.kinds import Kind, entries
from seas_runtime.outputs.replacing import replace_directory
from seas_train.bases.base import Base, Geometry
from seas_train.bases.model_folders import (
    MODEL_FILES,
    check_folder,
    component_folders,
    load_components,
    model_index,
    quiet_transformers,
)
from seas_train.diffusion.prompt_encoding import encode_prompts
from seas_train.foreign_files import TABLE_LIMIT, check_file, is_missing
from seas_train.placement.files import FILES, FOLDER, PlacementFiles, read_placement

SCHEMA = 1
DESCRIPTION_FILE = "seas.json"
REFERENCES_FILE = "references.safetensors"
_REFERENCES_LIMIT = 1024**3  # bytes: 16,000 photographs at 512 pixels


def _listed(folder: Path) -> set[str] | None:
    """A checkpoint's files, where its description is one."""
    try:
        found = read_json(folder / DESCRIPTION_FILE, "checkpoint description")
    except UserError:
        return None
    if not isinstance(found, dict) or not {"prompts", "base"} <= {*found}:
        return None
    more = found.get("artifact_files")  # what a method wrote beside the files of every checkpoint
    own = {name for name in more if isinstance(name, str)} if isinstance(more, list) else set()
    return CHECKPOINT.matching(folder) | own


CHECKPOINT = Kind(
    "a checkpoint",
    DESCRIPTION_FILE,
    (
        DESCRIPTION_FILE,
        "model_index.json",
        REFERENCES_FILE,
        *MODEL_FILES,
        "mask_head/config.json",
        "mask_head/*model.safetensors",
        "mask_head/*head.safetensors",
        *FILES,
    ),
    listed=_listed,
)
FIRST_METHOD = "seas"
"""The method of a checkpoint that names none."""
_KEYS: dict[str, type] = {
    "method": str,
    "product": str,
    "defects": list,
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
_KINDS: dict[type, str] = {str: "text", list: "a list", dict: "an object", int: "a whole number"}


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: float32, on the CPU, in evaluation mode."""

    path: Path
    tokenizer: Any
    text_encoder: Any
    vae: Any
    unet: Any
    scheduler: Any
    artifacts: Mapping[str, Any]
    """The method's own parts, by the names of their folders: SeaS's `mask_head`."""
    references: Tensor
    """[n, C, h, w] f32: VAE posterior means of the training normals, unscaled but where
    `generation.references` says otherwise."""
    geometry: Geometry
    meta: Mapping[str, Any]
    """The contents of `seas.json`."""

    @cached_property
    def placement(self) -> PlacementFiles | None:
        """What placed pairs need, read when asked for.

        None in checkpoints of before there were any, or made without photographs. UserError where it is
        broken.
        """
        return read_placement(self.path)

    @property
    def method(self) -> str:
        """The name of the method that it was trained by."""
        return str(self.meta["method"])

    @property
    def product(self) -> str:
        """The product's name."""
        return str(self.meta["product"])

    @property
    def product_label(self) -> str:
        """The product's name as its people spell it; empty where that is its name."""
        return str(self.meta.get("product_label", ""))

    @property
    def labels(self) -> dict[str, str]:
        """Of defects, the same, by name."""
        return dict(self.meta.get("labels", {}))

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
    path: Path,
    models: Base,
    references: Tensor,
    artifacts: Mapping[str, Callable[[Path], None]],
    prompts: Mapping[str, Any],
    description: Mapping[str, Any],
    placement: Callable[[Path], None] | None = None,
) -> None:
    """Write a checkpoint folder, whole or not at all; an older one is replaced.

    Args:
        path: the folder to make.
        models: the base with what was trained in its models' place.
        references: [n, C, h, w], latents of the training normals.
        artifacts: name -> writes the artifact into the folder that it is given.
        prompts: the keys `method`, `defects`, `prompts` of `seas.json`, and the method's own.
        description: its other keys, but for those of the base.
        placement: writes what placed pairs need into the folder that it is given; None where there are no
            photographs.

    Raises:
        UserError: the folder cannot be written.
    """
    for model in (models.unet, models.vae):  # files hold tensors in their plain order, whatever memory has
        model.to(memory_format=torch.contiguous_format)
    with replace_directory(path, CHECKPOINT) as folder, quiet_transformers():
        for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
            getattr(models, name).save_pretrained(folder / name)
        for name, write in artifacts.items():
            write(folder / name)
        more = sorted(entries(folder) - CHECKPOINT.matching(folder))
        if placement is not None:
            placement(folder / FOLDER)
        save_file({"latents": references.detach().float().cpu().contiguous()}, folder / REFERENCES_FILE)
        write_json(folder / "model_index.json", model_index("DDPMScheduler"))
        base = {
            "base": {"name": models.name, "fingerprint": models.fingerprint, "licence": models.licence},
            "geometry": models.geometry.to_dict(),
        }
        own = {**prompts, **base, **description, **({"artifact_files": more} if more else {})}
        write_json(folder / DESCRIPTION_FILE, {"schema": SCHEMA, **own})


def read_checkpoint(
    path: Path, meta: Mapping[str, Any], artifacts: Mapping[str, Callable[[Path], Any]]
) -> Checkpoint:
    """Read a checkpoint folder; `seas_train.load_checkpoint` finds its method's artifacts first.

    Args:
        path: the folder.
        meta: its description, from `read_description`.
        artifacts: name -> reads the artifact's folder.

    Raises:
        UserError: a file is missing or broken; names it and what was expected.
    """
    what = f"checkpoint {path}"
    check_folder(path, what)
    components = load_components(component_folders(path), what)
    geometry = Geometry.from_dict(meta["geometry"])
    return Checkpoint(
        path=path,
        artifacts={name: read(path / name) for name, read in artifacts.items()},
        references=_read_references(path / REFERENCES_FILE, geometry),
        geometry=geometry,
        meta=meta,
        **components,
    )


def read_description(path: Path) -> dict[str, Any]:
    """Read and check a checkpoint's `seas.json`; loads no model.

    Raises:
        UserError: the folder is no checkpoint, or its description is incomplete.
    """
    file = path / DESCRIPTION_FILE
    if not path.is_dir():
        raise UserError(f"checkpoint {path}: no such folder; expected one that `seas-export train` wrote")
    if is_missing(file):
        raise UserError(
            f"checkpoint {path}: {DESCRIPTION_FILE} is missing; "
            "expected a folder that `seas-export train` wrote"
        )
    check_file(file, "a checkpoint description", TABLE_LIMIT)
    meta = read_json(file, "checkpoint description")
    if not isinstance(meta, dict):
        raise UserError(f"{file}: expected a JSON object, found {type(meta).__name__}")
    if meta.get("schema") != SCHEMA:
        raise UserError(
            f"{file}: schema: expected {SCHEMA}, found {meta.get('schema')!r}; train again with this version"
        )
    meta.setdefault("method", FIRST_METHOD)
    check_keys(meta, _KEYS, file)
    names = [d.get("name") if isinstance(d, dict) else None for d in meta["defects"]]
    if not names or set(meta["prompts"]) != {GOOD, *names}:
        raise UserError(
            f"{file}: prompts: expected one for {GOOD} and each of the defects {names}, "
            f"found {sorted(meta['prompts'])}"
        )
    check_keys({"product_label": "", "labels": {}, **meta}, {"product_label": str, "labels": dict}, file)
    if unknown := [name for name, label in meta.get("labels", {}).items() if name not in names or not label]:
        raise UserError(
            f"{file}: labels: expected those of the defects {names}, found {unknown}; train again"
        )
    return meta


def check_keys(meta: Mapping[str, Any], kinds: Mapping[str, type], file: Path) -> None:
    """Check that a description has these keys, with values of these kinds.

    Raises:
        UserError: one is missing or of another kind.
    """
    for key, kind in kinds.items():
        if not isinstance(meta.get(key), kind):
            found = type(meta[key]).__name__ if key in meta else "nothing"
            raise UserError(f"{file}: {key}: expected {_KINDS[kind]}, found {found}; train again")


def _read_references(file: Path, geometry: Geometry) -> Tensor:
    expected = (geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    check_file(file, "the tensor `latents` in a safetensors file", _REFERENCES_LIMIT)
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
