"""Which files a killed writer may have left without a record, and which that are in the way are not ours."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from seas_runtime.dataset.layout import PENDING_NAME
from seas_runtime.errors import UserError
from seas_runtime.files import read_json, write_json
from seas_runtime.outputs.kinds import is_inside, some


def note_pending(out: Path, files: Iterable[str]) -> None:
    """Write down the files of a batch before they are written: whose they are until they are recorded."""
    write_json(out / PENDING_NAME, {"files": sorted(files)})


def pending_files(out: Path) -> set[str]:
    """Return the files that the writer was at when it was stopped; none where it came to its end."""
    if not (out / PENDING_NAME).is_file():
        return set()
    try:
        found = read_json(out / PENDING_NAME, "list of a batch's files")["files"]
        return {path for path in found if is_inside(path)}
    except (UserError, KeyError, TypeError, AttributeError):
        return set()


def check_free(out: Path, files: Iterable[str], ours: set[str], size: tuple[int, int] | None) -> None:
    """Refuse, before the work, files where pairs will go that cannot be ours: no picture of `size`, width and
    height, or none at all where pairs are of their photographs' sizes.

    Whether another one is ours turns out when the pair is made: earlier versions kept no list.
    """
    taken = [path for path in files if path not in ours and (out / path).exists()]
    sizes = {path: _size(out / path) for path in taken}
    foreign = sorted(path for path, found in sizes.items() if found is None or found != (size or found))
    if foreign:
        refuse(out, foreign)


def refuse(out: Path, files: list[str]) -> None:
    """Raise the UserError for files in the way."""
    raise UserError(
        f"{out}: holds files that no command of ours wrote, where pairs would go: {some(files)}. "
        "Move them away, or choose another folder"
    )


def _size(file: Path) -> tuple[int, int] | None:
    try:
        with Image.open(file) as image:
            return image.size if image.format == "PNG" else None
    except (OSError, ValueError, SyntaxError):
        return None
