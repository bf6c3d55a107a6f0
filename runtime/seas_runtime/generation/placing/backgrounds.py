"""The photographs that defects are drawn into: a folder of the line's own, or those that a bundle carries."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_runtime.photographs.reading import Photograph, find_photographs, read_photograph
from seas_runtime.placement.regions import Placed

_HELD_BYTES = 256 << 20
"""Of decoded photographs that are kept for the next pair."""


class Backgrounds:
    """Photographs in a fixed order, read when they are asked for; safe for several threads.

    Args:
        where: the folder that they are from, for messages and records.
        names: of the files.
        hashes: SHA-256 of each file.
        read: gives one by its place.
    """

    def __init__(
        self, where: str, names: Sequence[str], hashes: Sequence[str], read: Callable[[int], Photograph]
    ) -> None:
        self.where, self.names, self.hashes, self._read = where, tuple(names), tuple(hashes), read
        self._held: OrderedDict[int, Photograph] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def of_folder(cls, folder: Path) -> Backgrounds:
        """List the photographs of a folder.

        Raises UserError where there is none, or one cannot be read.
        """
        files = find_photographs(folder)
        hashes = [sha256_file(file) for file in files]
        names = [file.relative_to(folder).as_posix() for file in files]
        return cls(str(folder), names, hashes, lambda place: _unchanged(files[place], hashes[place]))

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Backgrounds:
        """List the photographs that a bundle carries; UserError where it carries none."""
        own = bundle.backgrounds
        if not own:
            raise UserError(
                f"{bundle.path}: this bundle carries no photographs to draw into; give a folder of normal "
                "photographs with --onto, export it again with --backgrounds, or make whole pictures with "
                "--from noise"
            )
        hashes = [bundle.manifest.files[name].sha256 for name in own.names]
        return cls(str(bundle.path), own.names, hashes, lambda place: own[place])

    @property
    def digest(self) -> str:
        """SHA-256 over the photographs' contents and their order; names change it not."""
        return hashlib.sha256("\n".join(self.hashes).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: int) -> Photograph:
        """Return a photograph; UserError where it cannot be read, or is another than when it was listed."""
        with self._lock:
            found = self._held.pop(place, None)
            found = self._read(place) if found is None else found
            self._held[place] = found
            while len(self._held) > 1 and self._bytes() > _HELD_BYTES:
                self._held.popitem(last=False)
        return found

    def _bytes(self) -> int:
        return sum(held.pixels.nbytes for held in self._held.values())


class Given:
    """One photograph in memory to draw into, and the mask of what is drawn, where that is given.

    pixels: uint8 or uint16 [H, W] or [H, W, 2 to 4]. mask: [H, W]. Raises UserError for others.
    """

    where = "the photograph"

    def __init__(self, pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None) -> None:
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim not in (2, 3) or not 1 <= channels <= 4:
            raise UserError(
                "photograph: expected uint8 or uint16 [H, W] or [H, W, 2 to 4], found "
                f"{pixels.dtype} {list(pixels.shape)}"
            )
        if 0 in pixels.shape:
            raise UserError(f"photograph: expected pixels, found {list(pixels.shape)}")
        own = np.ascontiguousarray(pixels[..., 0] if pixels.ndim == 3 and channels == 1 else pixels)
        self._photograph = Photograph(own, hashlib.sha256(own.tobytes()).hexdigest(), "in memory")
        self.placed = None
        if mask is not None:
            if mask.shape != own.shape[:2]:
                raise UserError(
                    f"mask: expected the photograph's size, {list(own.shape[:2])}, found {list(mask.shape)}"
                )
            self.placed = Placed.of(np.asarray(mask) > 0)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> Photograph:
        return self._photograph


def _unchanged(file: Path, expected: str) -> Photograph:
    photograph = read_photograph(file)
    if photograph.sha256 != expected:
        raise UserError(f"{file}: written while pairs were made; run the command again")
    return photograph
