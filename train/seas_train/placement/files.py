"""The folder `placement/` of a checkpoint: its files, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from seas_runtime.errors import UserError
from seas_runtime.files import read_json
from seas_runtime.manifest.types import GOOD
from seas_runtime.placement.masks.shapes import Shape, unpack_shapes
from seas_train.foreign_files import TABLE_LIMIT, check_file

FOLDER = "placement"
DESCRIPTION, SHAPES, REGIONS, BACKGROUNDS = (
    "placement.json",
    "shapes.safetensors",
    "regions.safetensors",
    "backgrounds",
)
IMAGES, MASKS = "images", "masks"
FILES = tuple(f"{FOLDER}/{name}" for name in (DESCRIPTION, SHAPES, REGIONS, f"{BACKGROUNDS}/*.png"))
"""Patterns of all of them, from the checkpoint's folder."""
SCHEMA = 1
_LIMIT = 4 * 1024**3  # bytes of a file of tensors: 64 defects of 16 regions at 1024 pixels


@dataclass(frozen=True)
class PlacementFiles:
    """What `placement/` holds."""

    regions: bool
    """Whether the checkpoint was trained on regions; on whole pictures otherwise."""
    description: Mapping[str, Any]
    """The contents of `placement.json`."""
    table: Mapping[str, NDArray[np.generic]]
    """The packed shapes of training masks, as a bundle's table has them."""
    shapes: Mapping[str, list[Shape]]
    """The same, unpacked."""
    images: Mapping[str, NDArray[np.uint8]]
    """What the model saw of each defect, and of `good`: [n, S, S, 3]."""
    masks: Mapping[str, NDArray[np.uint8]]
    """Of each defect's, 0 or 1: [n, S, S]."""
    backgrounds: tuple[Path, ...]
    """Training normals at their own resolution and depth, in the order of their names."""


def read_placement(checkpoint: Path) -> PlacementFiles | None:
    """Read what a checkpoint's folder brings for placed pairs; None of one of before there was any.

    Raises:
        UserError: a file is missing or broken; names it and what was expected.
    """
    folder = checkpoint / FOLDER
    if not folder.is_dir():
        return None
    file = folder / DESCRIPTION
    check_file(file, "a description of placements", TABLE_LIMIT)
    description = read_json(file, "description of placements")
    if not isinstance(description, dict) or description.get("schema") != SCHEMA:
        raise UserError(f"{file}: expected an object of schema {SCHEMA}, found another; train again")
    if not isinstance(description.get("regions"), bool):
        raise UserError(f"{file}: regions: expected true or false, found another; train again")
    table = _tensors(folder / SHAPES)
    regions = _tensors(folder / REGIONS)
    parts: dict[str, dict[str, NDArray[Any]]] = {IMAGES: {}, MASKS: {}}
    for name, tensor in regions.items():
        owner, _, kind = name.rpartition("/")
        if kind not in parts or tensor.dtype != np.uint8 or tensor.ndim != (4 if kind == IMAGES else 3):
            expected = f"DEFECT/{IMAGES} uint8 [n, S, S, 3] and DEFECT/{MASKS} uint8 [n, S, S]"
            raise UserError(
                f"{folder / REGIONS}: expected {expected}, found {name} {tensor.dtype} {list(tensor.shape)}; "
                "train again"
            )
        parts[kind][owner] = tensor
    if {*parts[IMAGES]} != {*parts[MASKS], GOOD}:
        raise UserError(
            f"{folder / REGIONS}: expected {IMAGES} of {GOOD}, and {IMAGES} and {MASKS} of each defect"
        )
    return PlacementFiles(
        regions=description["regions"],
        description=description,
        table=table,
        shapes=unpack_shapes(table, str(folder / SHAPES)),
        images=parts[IMAGES],
        masks=parts[MASKS],
        backgrounds=tuple(sorted((folder / BACKGROUNDS).glob("*.png"))),
    )


def _tensors(file: Path) -> dict[str, NDArray[Any]]:
    check_file(file, "a safetensors file", _LIMIT)
    try:
        found: dict[str, NDArray[Any]] = load_file(file)
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{file}: expected a safetensors file, found {error}; train again") from error
    return found
