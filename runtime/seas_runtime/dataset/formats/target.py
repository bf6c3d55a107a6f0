"""The folder that a conversion writes: pictures linked or copied, never changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from seas_runtime.dataset.formats.finished import Picture
from seas_runtime.files import json_bytes

WEAK_NAME = "weak.json"
"""Lists the labels that are boxes where a format has no field for it."""
SCHEMA = 1


class Target:
    """Writes into a new folder; what it holds appears at its place when all is written.

    With `copy` pictures are copies; else they are hard links where the file system allows them: the same
    bytes under a second name, that take no space.
    """

    def __init__(self, root: Path, *, copy: bool) -> None:
        self.root = root
        self.copy = copy
        self.linked = self.copied = 0

    def place(self, source: Path, path: str) -> None:
        """Put a file of the dataset at `path`."""
        target = self._made(path)
        if not self.copy and not source.is_symlink():
            try:
                os.link(source, target)
                self.linked += 1
                return
            except OSError:  # another file system, or one without links
                pass
        shutil.copyfile(source, target)
        self.copied += 1

    def picture(self, path: str, image: Image.Image) -> None:
        """Write a picture as PNG."""
        image.save(self._made(path), "PNG")

    def text(self, path: str, content: str) -> None:
        """Write a text file in UTF-8."""
        self._made(path).write_bytes(content.encode("utf-8"))

    def json(self, path: str, value: Any) -> None:
        """Write a JSON file."""
        self._made(path).write_bytes(json_bytes(value))

    def json_lines(self, path: str, values: Iterable[Any]) -> None:
        """Write a file of a JSON value a line."""
        self.text(path, "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))

    def weak(self, paths: Iterable[str]) -> None:
        """Say which labels are boxes; no file where none is."""
        listed = sorted(paths)
        if listed:
            self.json(WEAK_NAME, {"schema": SCHEMA, "weak": dict.fromkeys(listed, "box")})

    def _made(self, path: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def half_of(picture: Picture, validation: frozenset[str]) -> str:
    """Return `val` or `train`."""
    return "val" if picture.name in validation else "train"
