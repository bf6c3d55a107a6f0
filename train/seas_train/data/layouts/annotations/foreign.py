"""Names the formats of labels that are not read, so that a person knows what to export instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seas_train.data.layouts.annotations.shapes import WAY_ON, import_command
from seas_train.data.layouts.found import entries, is_file, is_folder
from seas_train.data.names import is_image_name

_HEAD = 64 * 1024  # bytes of a file that tell its format
_IMPORTED = ("CVAT's XML", "Pascal VOC's XML")
_SIGNS = {  # ending -> what is in the head, and whose it is; the first that fits
    ".xml": ((b"<annotations", "CVAT's XML"), (b"<annotation", "Pascal VOC's XML")),
    ".json": (
        (b"_via_", "VGG Image Annotator's JSON"),
        (b'"dm_format_version"', "Datumaro's JSON"),
        (b'"completions"', "Label Studio's JSON"),
        (b'"annotations":[{', "Label Studio's JSON"),
        (b'"classTitle"', "Supervisely's JSON"),
        (b'"classId"', "Supervisely's JSON"),
        (b'"bbox"', "JSON with boxes"),
    ),
    ".csv": ((b"xmin", "a table of boxes"), (b"region_shape_attributes", "VGG Image Annotator's table")),
    ".ndjson": ((b"{", "Labelbox's JSON"),),
}


def foreign_labels(product: Path) -> str | None:
    """Return a sentence on the labels that lie below in a format that is not read, or None."""
    for file in _files(product):
        try:
            with file.open("rb") as stream:
                head = stream.read(_HEAD)
        except OSError:
            continue
        for sign, whose in _SIGNS[file.suffix.lower()]:
            if sign in head or sign in b"".join(head.split()):
                name = file.relative_to(product).as_posix()
                if whose in _IMPORTED:
                    return f"{name} is {whose}, which is imported first: {import_command(product)}"
                return f"{name} is {whose}, which is not read. {WAY_ON}."
    return None


def has_images(folder: Path, depth: int = 3) -> bool:
    """Whether photographs lie in a folder or below it."""
    inside = entries(folder)
    if any(is_image_name(entry) and not is_folder(entry) for entry in inside):
        return True
    return depth > 1 and any(has_images(entry, depth - 1) for entry in inside if is_folder(entry))


def _files(folder: Path, depth: int = 4, most: int = 20) -> Iterator[Path]:
    """A few files of each folder that may hold labels."""
    inside = entries(folder)
    yield from [entry for entry in inside if entry.suffix.lower() in _SIGNS and is_file(entry)][:most]
    if depth > 1:
        for entry in [entry for entry in inside if is_folder(entry)][:most]:
            yield from _files(entry, depth - 1)
