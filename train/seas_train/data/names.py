"""Names of files and defects: natural order, matching, and names that are safe as folders and tokens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from seas_runtime.manifest.fields import RESERVED_NAMES, is_safe_name
from seas_runtime.photographs.reading import HEIC_SUFFIXES as HEIC_SUFFIXES
from seas_runtime.photographs.reading import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from seas_runtime.photographs.reading import is_image_name as is_image_name
from seas_runtime.printable import printable

MAX_NAME = 60  # characters, so that a folder made from it fits every file system
MAX_BYTES = 160  # of them in UTF-8, of the 255 that a file's name may have


def natural_key(path: Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key under which 2.png comes before 10.png, whatever the padding."""
    parts = re.split(r"(\d+)", match_key(path.name))
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p), path.name


def match_key(name: str) -> str:
    """Return the name as it is compared: case and Unicode composition do not matter."""
    return unicodedata.normalize("NFC", name).casefold()


def shown_label(name: str) -> str:
    """Return a folder's or table's own spelling of a name as it is shown: composed, and harmless to print."""
    return printable(unicodedata.normalize("NFC", name))


def safe_name(label: str, empty: str = "defect") -> str:
    """Return a label as a name for folders, prompt tokens and the command line; `empty` if nothing is left.

    Letters (of any script) and digits stay, in lower case; every run of anything else becomes one "_". A word
    that means something to the command line or to Windows gets "_" and `empty` behind it.
    """
    text = unicodedata.normalize("NFKC", label).lower()
    name = re.sub(r"[\W_]+", "_", text).strip("_")[:MAX_NAME]
    name = name.encode()[:MAX_BYTES].decode(errors="ignore").strip("_") or empty
    return name if is_safe_name(name) and name not in RESERVED_NAMES else f"{name}_{empty}"


def product_name(label: str) -> str:
    """Return the name of a product's folder if it is a safe name as it is, else `safe_name` of it."""
    composed = unicodedata.normalize("NFC", label)
    plain = re.fullmatch(r"\w[\w.-]*", composed) and len(composed.encode()) <= MAX_BYTES
    return composed if plain and is_safe_name(composed) else safe_name(label, "product")


def unique_names(labels: Iterable[str], make: Callable[[str], str] = safe_name) -> dict[str, str]:
    """Return a safe, distinct name for each label: repeats, in any case, get "_2", "_3", ...

    Labels that are safe names as they are keep them.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in sorted(labels, key=lambda label: (make(label) != label, label)):
        name = stem = make(label)
        count = 1
        while name.casefold() in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name.casefold())
        names[label] = name
    return names


def find_by_name(wanted: str, labels: Iterable[str], make: Callable[[str], str] = safe_name) -> list[str]:
    """Return the labels that `wanted` means: itself, else those shown so, named so, or differing in case."""
    labels = list(labels)
    if wanted in labels:
        return [wanted]
    names = unique_names(labels, make)
    by_spelling = (
        [label for label in labels if shown_label(label) == shown_label(wanted)],
        [label for label in labels if names[label] == wanted],
        [label for label in labels if match_key(label) == match_key(wanted)],
    )
    return next((found for found in by_spelling if found), [])
