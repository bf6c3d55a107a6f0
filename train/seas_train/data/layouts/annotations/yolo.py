"""YOLO segmentation: a text file for each photograph, a line an instance: class, then the outline's points.

Folders are images and labels, beside each other or each split in two (`images/train`, `train/images`), or
`obj_train_data` with both; the classes' names are in a YAML file, in classes.txt or obj.names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from seas_train.data.layouts.annotations.shapes import Marked, picture_size, sort_marked
from seas_train.data.layouts.found import Found, child, entries, folders, is_folder
from seas_train.data.layouts.mask_files import weak_masks
from seas_train.data.names import is_image_name, match_key
from seas_train.data.problems import Kind, Problems

SIGNS = "images and labels folders with a .txt file for each photograph"
_TOGETHER = re.compile(r"obj_\w+_data")  # photographs and text files, of Darknet, as CVAT exports YOLO 1.1
_NAMES = ("classes.txt", "obj.names", "names.txt")
_OTHERS = (*_NAMES, "train.txt", "val.txt", "test.txt", "readme.txt")


def looks_like(product: Path) -> bool:
    """Whether text files lie in a labels folder that has an images folder beside it."""
    return any(_texts(labels) for _, labels in _halves(product))


def _halves(product: Path) -> Iterator[tuple[Path, Path]]:
    """Folders of photographs, each with that of its labels."""
    for place in (product, *folders(product)):
        if _TOGETHER.fullmatch(match_key(place.name)):
            yield place, place
        images, labels = child(place, "images"), child(place, "labels")
        if images is None or labels is None:
            continue
        yield images, labels
        for inside in folders(labels):
            if (photographs := child(images, inside.name)) is not None:
                yield photographs, inside


def _texts(labels: Path) -> dict[str, Path]:
    return {
        match_key(entry.stem): entry
        for entry in entries(labels)
        if entry.suffix.lower() == ".txt" and match_key(entry.name) not in _OTHERS
    }


def find(product: Path, problems: Problems) -> Found:
    """List the product's photographs by the classes of their outlines; those without any are normals."""
    marked, bare = read(product, problems)
    found = sort_marked(marked, bare, problems)
    if empty := len(bare) + sum(1 for entry in marked if not entry.labels and not entry.boxes):
        found.notes.append(f"{empty} images without labels are taken as normal")
    return found


def read(product: Path, problems: Problems) -> tuple[list[Marked], list[Path]]:
    """Return what is marked on each photograph, and the photographs without a file."""
    names, weak = _class_names(product), weak_masks(product, problems)
    marked: list[Marked] = []
    bare = []
    for images, labels in _halves(product):
        texts = _texts(labels)
        for image in entries(images):
            if not is_image_name(image):
                continue
            file = texts.pop(match_key(image.stem), None)
            if file is None:
                bare.append(image)
            elif (entry := _read(file, image, names, file in weak, problems)) is not None:
                marked.append(entry)
        for file in texts.values():
            problems.warn(Kind.EXTRA_MASK, file, f"no image in {images.name} has this name; left out")
    return marked, bare


def _read(file: Path, image: Path, names: dict[int, str], weak: bool, problems: Problems) -> Marked | None:
    try:
        size = picture_size(image)
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        problems.warn(Kind.UNREADABLE, image, f"is not an image that can be read ({error}); left out")
        return None
    marked = Marked(image, file, size)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        for line in lines:
            if words := line.split():
                _mark(marked, words, names, weak)
    except Exception as error:  # written by anything
        problems.warn(Kind.BROKEN_LABELS, file, f"cannot be read as YOLO's ({error}); the image is left out")
        return None
    return marked


def _mark(marked: Marked, words: list[str], names: dict[int, str], weak: bool) -> None:
    number = int(float(words[0]))
    values = [float(word) for word in words[1:]]
    width, height = marked.size
    label = names.get(number, f"class {number}")
    if len(values) < 6 or len(values) % 2:  # x, y, width, height, and perhaps how sure a model was
        x, y, across, down = values[:4]
        low, high = (x - across / 2, y - down / 2), (x + across / 2, y + down / 2)
        marked.box(label, (low[0] * width, low[1] * height), (high[0] * width, high[1] * height))
        return
    points = [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]
    marked.polygon(label, points, weak=weak)


def _class_names(product: Path) -> dict[int, str]:
    """The classes' names by number, from the first file that has them; they need not be there."""
    places = [product, *folders(product)]
    for file in (entry for place in places for entry in entries(place) if not is_folder(entry)):
        found: object = None
        try:
            if file.suffix.lower() in (".yaml", ".yml"):
                import yaml

                found = yaml.safe_load(file.read_bytes()).get("names")
            elif match_key(file.name) in _NAMES:
                found = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        except Exception:  # another YAML file than that of the classes
            continue
        if isinstance(found, list):
            return {number: str(name) for number, name in enumerate(found)}
        if isinstance(found, dict):
            return {int(number): str(name) for number, name in found.items()}
    return {}
