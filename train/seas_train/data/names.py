"""Names of files and defects: natural order, matching, and names that are safe as folders and tokens."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from seas_runtime.manifest.fields import RESERVED_NAMES

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
MAX_NAME = 60  # characters, so that a folder made from it fits every file system


def is_image_name(path: Path) -> bool:
    """Whether the file's ending is one that we read, in any case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def natural_key(path: Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key under which 2.png comes before 10.png, whatever the padding."""
    parts = re.split(r"(\d+)", match_key(path.name))
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p), path.name


def match_key(name: str) -> str:
    """Return the name as it is compared: case and Unicode composition do not matter."""
    return unicodedata.normalize("NFC", name).casefold()


def safe_name(label: str) -> str:
    """Return a defect's label as a name for folders, prompt tokens and the command line.

    Letters (of any script) and digits stay, in lower case; every run of anything else becomes one "_".
    """
    text = unicodedata.normalize("NFKC", label).lower()
    name = re.sub(r"[\W_]+", "_", text).strip("_")[:MAX_NAME].strip("_")
    return name or "defect"


def unique_names(labels: list[str]) -> dict[str, str]:
    """Return a safe, distinct name for each label: reserved words get "_defect", repeats "_2", "_3", ..."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in sorted(labels):
        name = safe_name(label)
        if name in RESERVED_NAMES:
            name = f"{name}_defect"
        stem, count = name, 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        names[label] = name
    return names
