"""Files of others, checked before they are opened: regular, of a size that their kind can have."""

from __future__ import annotations

import codecs
import logging
import os
import stat
from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.regular import kind_in_words
from seas_runtime.units import mib

_MARKS = (  # the longer ones first: UTF-32's begins as UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_BY_ZEROS = {
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True): "utf-16-le",
    (True, False): "utf-16-be",
}
"""Which of a file's first bytes are 0 -> its encoding."""

logger = logging.getLogger(__name__)

TEXT_LIMIT = 1024**2
"""Bytes of a configuration, a YAML file, a model card."""
TABLE_LIMIT = 64 * 1024**2
"""Bytes of a vocabulary, or of an index of shards."""
WEIGHTS_LIMIT = 32 * 1024**3
"""Bytes of a file with weights: four times a Stable Diffusion 1.x with two copies of its U-Net in float32."""
_LFS = b"version https://git-lfs"


def check_file(path: Path, expected: str, limit: int, option: str = "") -> None:
    """Check that a file may be opened.

    Args:
        path: the file.
        expected: what it is called in errors: "weights".
        limit: bytes that it has at most.
        option: the option that named it, for errors.

    Raises:
        UserError: there is nothing, a link to nowhere (told with its target), no regular file, one that is
            too large, or what Git LFS leaves in a file's place.
    """
    where = f"{option} {path}".strip()
    try:
        status = path.stat()
    except OSError as error:
        dead = dead_link(path)
        found = dead or ("nothing" if isinstance(error, FileNotFoundError) else error.strerror)
        raise UserError(f"{where}: expected {expected}, found {found}") from error
    if not stat.S_ISREG(status.st_mode):
        found = kind_in_words(status) or "no regular file"
        raise UserError(f"{where}: expected {expected}, found {found}; put the file itself there")
    if status.st_size > limit:
        raise UserError(
            f"{where}: expected {expected} of at most {mib(limit)}, found {mib(status.st_size)}; "
            "is it another file?"
        )
    if status.st_size < 1024 and _begins(path, _LFS):
        raise UserError(
            f"{where}: expected {expected}, found the note that Git LFS leaves in its place: "
            "run `git lfs pull` in the folder that it was cloned to"
        )


def is_missing(file: Path) -> bool:
    """Whether there is nothing at all, not even a link to nowhere."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return not dead_link(file)
    except OSError:  # there is something, which cannot be read
        return False
    return False


def dead_link(path: Path) -> str:
    """Which part of a path is a link to nowhere, in words with its target; empty where none is."""
    for part in (path, *path.parents):
        if part.is_symlink() and not os.path.exists(part):  # noqa: PTH110 - Path.exists raises for a loop
            target = os.readlink(part)  # noqa: PTH115 - as it is written there
            advice = "copy what it points to as well, or with links followed (cp -rL, rsync -aL)"
            if "blobs" in Path(target).parts:
                advice = (
                    "this is a Hugging Face cache's snapshot without its blobs: copy the whole folder "
                    "models--..., or the snapshot with links followed (cp -rL, rsync -aL)"
                )
            name = "" if part == path else f"{part.name}, "
            return f"{name}a link to {target}, where nothing is; {advice}"
    return ""


def tell_outside(path: Path, root: Path) -> None:
    """Warn of a file that is a link out of the folder `root`; the blobs of a hub cache belong to it."""
    real, home = path.resolve(), root.resolve()
    homes = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    if not any(real.is_relative_to(place) for place in homes):
        logger.warning("%s is a link to %s, outside of %s", path, real, root)


def _begins(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def decode_text(data: bytes) -> str:
    """Return a text file's characters: UTF-8, or UTF-16 and UTF-32 as Windows' editors save them.

    Without a byte order mark zeros tell: YAML begins with an ASCII character.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    zeros = tuple(byte == 0 for byte in data[:4])
    return data.decode(_BY_ZEROS.get(zeros) or _BY_ZEROS.get(zeros[:2]) or "utf-8")
