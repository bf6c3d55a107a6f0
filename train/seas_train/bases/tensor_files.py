"""Tensors from files of others: safetensors, and pickles read without executing anything of them.

A pickle is a program. `torch.load(..., weights_only=True)` runs none of it: it builds tensors and plain
containers and stops at the first thing that is neither. What stops it is refused; there is no other way in.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from seas_runtime.errors import UserError
from seas_train.foreign_files import WEIGHTS_LIMIT, check_file

PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pt", ".pth"})


def is_pickle(path: Path) -> bool:
    """Whether a weights file is a pickle, by its ending."""
    return path.suffix.lower() in PICKLE_SUFFIXES


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a safetensors file's tensors, from its header alone.

    Raises:
        UserError: it is no safetensors file.
    """
    check_file(path, "a safetensors file", WEIGHTS_LIMIT)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: expected a safetensors file, found a broken one: {error}") from error


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict that `torch.save` wrote, on the CPU; nothing of the file is executed.

    A state dict under the key `state_dict`, as training checkpoints have it, is taken out of them.

    Raises:
        UserError: there is no such file, it is none that `torch.save` wrote, it holds more than tensors and
            plain containers (with what it asks for), or no state dict.
    """
    check_file(path, "a file that torch.save wrote", WEIGHTS_LIMIT)
    _check_unpacked(path)
    try:
        # Mapped, not read: only what is used of a large file comes into memory.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: expected tensors alone, but the file {_wish(str(error))}; it was not executed. "
            "Save the bare state dict, best as safetensors"
        ) from error
    except Exception as error:  # torch raises anything for a file that it did not write
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: expected a file that torch.save wrote, found: {reason}") from error
    while isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not loaded:
        raise UserError(f"{path}: expected a state dict (tensors by name), found {type(loaded).__name__}")
    strange = [str(name) for name, value in loaded.items() if not isinstance(value, Tensor)]
    if strange:
        raise UserError(
            f"{path}: expected a state dict (tensors by name), found other values in {', '.join(strange[:5])}"
        )
    return {str(name): value for name, value in loaded.items()}


def write_safetensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors; those that share memory are written as copies.

    Raises:
        UserError: the file cannot be written, as the disk is full for one.
    """
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        own[name] = tensor if whole and place not in seen else tensor.clone().contiguous()
        seen.add(place)
    try:
        save_file(own, path, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path}: cannot write: {error}; free some space, "
            "or name another folder for temporary files in TMPDIR"
        ) from error


def _wish(message: str) -> str:
    """The object that a pickle asked for, from PyTorch's message."""
    for pattern, words in (
        (r"GLOBAL ([\w.]+)", "asks for {}"),
        (r"Trying to instantiate a non-allowed type ([\w.]+)", "asks for {}"),
        (r"Trying to call reduce for unrecognized function <built-in function (\w+)>", "calls {}"),
        (r"[Uu]nsupported operand (\d+)", "has the unknown instruction {}"),
    ):
        found: Any = re.search(pattern, message)
        if found:
            return words.format(found[1])
    return "holds more, or is damaged"


def _check_unpacked(path: Path) -> None:
    """Refuse an archive whose entries are compressed, as `torch.save` never writes them: they could be any
    size."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [
                item.filename for item in archive.infolist() if item.compress_type != zipfile.ZIP_STORED
            ]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: expected a file that torch.save wrote, found: {error}") from error
    if packed:
        raise UserError(
            f"{path}: expected a file that torch.save wrote, found a compressed archive ({packed[0][:80]!r})"
        )
