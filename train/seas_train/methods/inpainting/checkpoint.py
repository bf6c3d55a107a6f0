"""The checkpoint of a method that leaves the base as it is: learned tensors beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seas_runtime.errors import UserError
from seas_train import checkpoint as generic
from seas_train.bases.base import Base, Geometry
from seas_train.data import Product
from seas_train.foreign_files import WEIGHTS_LIMIT, check_file
from seas_train.placement.writing import write_placement
from seas_train.settings import Settings

VERSION = 1
"""Raised whenever the same inputs would train to another checkpoint."""
TENSORS = "tensors.safetensors"


def write_tensors(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write learned tensors into the folder of their artifact, which is made."""
    folder.mkdir()
    save_file(
        {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()},
        folder / TENSORS,
    )


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read an artifact's tensors; UserError that names the file where they are missing or broken."""
    file = folder / TENSORS
    check_file(file, "learned tensors in a safetensors file", WEIGHTS_LIMIT)
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file}: expected a safetensors file, found {error}; train again") from error
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise UserError(f"{file}: {broken[0]}: expected finite values, found NaN or infinity; train again")
    return tensors


def train_fingerprint(
    method: str, product: Product, base: Base, config: Settings, read: Mapping[str, Any]
) -> str:
    """sha256 over everything that a checkpoint follows from; `read` is what else was, see `Method.read`."""
    values = {
        key: value for key, value in config.to_dict().items() if key not in ("save_every", "preview_every")
    }
    inputs = {
        "version": VERSION,
        "method": method,
        "product": product.name,
        "data": product.fingerprint,
        "base": base.fingerprint,
        "config": values,
        **read,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def save_checkpoint(
    path: Path,
    method: str,
    base: Base,
    geometry: Geometry,
    product: Product,
    config: Settings,
    *,
    artifacts: Mapping[str, Callable[[Path], None]],
    references: Tensor,
    prompts: Mapping[str, str],
    generation: Mapping[str, Any],
    losses: Mapping[str, Any],
    read: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint: the base as it was, and what was learned.

    Args:
        path: the folder to make.
        method: its name.
        base: frozen.
        geometry: at the product's image size.
        product: as it trained; its photographs are what placed pairs need.
        config: the method's.
        artifacts: name -> writes it into the folder that it is given.
        references: [n, C, h, w], unscaled latents of normals.
        prompts: of `good` and each defect, for people.
        generation: defaults of generation.
        losses: by stage.
        read: what it follows from besides; see `Method.read`.

    Raises:
        UserError: the folder cannot be written.
    """
    description = {
        **product.described(),
        "training": config.to_dict(),
        "losses": dict(losses),
        "generation": dict(generation),
        "fingerprint": train_fingerprint(method, product, base, config, read or {}),
    }
    own = {
        "method": method,
        "defects": [{"name": defect.name} for defect in product.defects],
        "prompts": dict(prompts),
    }
    generic.save_checkpoint(
        path,
        replace(base, geometry=geometry),
        references,
        artifacts,
        own,
        description,
        partial(write_placement, product=product),
    )
