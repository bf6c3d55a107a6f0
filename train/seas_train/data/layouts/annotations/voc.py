"""Pascal VOC: masks of class colours in `SegmentationClass`, and boxes in XML files.

CVAT's archive "Segmentation mask 1.1" is the same with `labelmap.txt`, which names the colours (docs.cvat.ai,
"Segmentation Mask"): `label:red,green,blue:parts:actions`. Masks of labelme and of VOC itself are palette
pictures. `class_names.txt` names their indices, one a line from 0 on; 0 is background, 255 is ignored. The
corners of a box are counted from 1, and both belong to it (VOC's development kit).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.errors import UserError
from seas_train.data.layouts.annotations.photographs import Photographs, parse_xml, xml_files
from seas_train.data.layouts.annotations.shapes import Mark, Marked
from seas_train.data.layouts.found import entries, folders, is_file
from seas_train.data.names import is_image_name, match_key
from seas_train.data.problems import Kind, Problems

SIGNS = "SegmentationClass with a mask of class colours for each photograph, or Pascal VOC's XML files"
_MASKS = ("segmentationclass", "segmentationclasspng")
_OTHERS = (*_MASKS, "segmentationobject", "segmentationobjectpng", "segmentationclassvisualization")
_LABEL_MAP, _CLASS_NAMES = "labelmap.txt", "class_names.txt"
_ENTRY = re.compile(r"(?P<name>[^:]*):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(:|$)")
_COLOUR = re.compile(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*")
BACKGROUND = ("background", "_background_", "__background__", "bg")
IGNORED = ("ignore", "ignored", "__ignore__", "void", "unlabeled", "unlabelled")
_MOST_COLOURS = 256

Value = int
"""An index, or a colour as 65536 * red + 256 * green + blue."""


@dataclass(frozen=True)
class ClassColours:
    """What a person says of masks' colours: names of classes, or `R,G,B`, that are no defect."""

    background: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass
class _Classes:
    """What the values of a product's masks mean."""

    names: dict[Value, str] = field(default_factory=dict)
    coloured: bool = True
    """Whether values are colours rather than indices."""
    none: set[Value] = field(default_factory=set)
    """Values that are no defect."""
    listed: str = ""
    """The file that names them."""

    def label(self, value: Value) -> str | None:
        """Return a value's class; None where the file that names them does not."""
        if value in self.names or self.listed:
            return self.names.get(value)
        return f"colour {value >> 16},{value >> 8 & 255},{value & 255}" if self.coloured else f"class {value}"


def looks_like(product: Path) -> bool:
    """Whether there are masks of class colours, or a file of VOC's."""
    return any(_mask_folders(product)) or any(xml_files(product, b"annotation"))


def read(
    product: Path, problems: Problems, colours: ClassColours | None = None
) -> tuple[list[Marked], list[Path]]:
    """Return what is marked on each photograph; those that are listed without a mask are normals.

    Raises UserError where it does not follow from the files which colour is the background, or where
    `colours` names none of the masks'.
    """
    photographs = Photographs(product, _OTHERS)
    marked: dict[Path, Marked] = {}
    masks = [file for folder in _mask_folders(product) for file in entries(folder) if is_image_name(file)]
    if masks:
        _read_masks(product, masks, photographs, colours or ClassColours(), marked, problems)
    for file in xml_files(product, b"annotation"):
        _read_boxes(file, photographs, marked, problems)
    listed = {match_key(name) for name in _listed(product)}
    told = {match_key(file.stem) for file in masks}  # what of these is not in `marked` has a mask of no use
    normals = []
    for path in sorted({path for same in photographs.by_name.values() for path in same} - marked.keys()):
        if match_key(path.stem) in listed - told:
            normals.append(path)
        elif match_key(path.stem) not in told:
            problems.warn(Kind.UNLABELLED, path, "no mask and no XML file of its name; left out")
    return list(marked.values()), normals


def _mask_folders(product: Path, depth: int = 3) -> Iterator[Path]:
    for folder in folders(product):
        if match_key(folder.name) in _MASKS:
            yield folder
        elif depth > 1:
            yield from _mask_folders(folder, depth - 1)


def _read_masks(
    product: Path,
    masks: list[Path],
    photographs: Photographs,
    colours: ClassColours,
    marked: dict[Path, Marked],
    problems: Problems,
) -> None:
    classes = _read_classes(product, masks)
    found: dict[Path, tuple[list[Value], tuple[int, int]]] = {}
    for file in masks:
        try:
            values = _values(file, classes.coloured)
            found[file] = np.unique(values).tolist(), (values.shape[1], values.shape[0])
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            problems.warn(Kind.UNREADABLE, file, f"cannot be read as a mask ({error}); left out")
    _choose_background(product, classes, colours, {value for here, _ in found.values() for value in here})
    for file, (here, size) in found.items():
        path = photographs.of_stem(file.name, file)
        unknown = [value for value in here if value not in classes.none and classes.label(value) is None]
        if path is None:
            problems.warn(Kind.EXTRA_MASK, file, "no photograph has this name; left out")
        elif len(here) > _MOST_COLOURS:
            problems.warn(Kind.NOT_A_MASK, file, f"has {len(here)} colours, as a photograph has; left out")
        elif unknown:
            shown = ", ".join(_shown(value, classes.coloured) for value in unknown[:5])
            problems.warn(
                Kind.BROKEN_LABELS, file, f"has {shown}, which {classes.listed} does not name; left out"
            )
        else:
            entry = marked.setdefault(path, Marked(path, file, size))
            for value in here:
                if value not in classes.none and (label := classes.label(value)) is not None:
                    entry.add(_mark(label, file, value, classes.coloured))


def _mark(label: str, file: Path, value: Value, coloured: bool) -> Mark:
    """A mark of the pixels of one value, which are read again when they are drawn."""

    def draw(mask: Image.Image) -> None:
        part = Image.fromarray((_values(file, coloured) == value).astype(np.uint8) * 255)
        mask.paste(255, (0, 0), part)

    return Mark(label, draw)


def _values(file: Path, coloured: bool) -> NDArray[np.int64]:
    """Return a mask's values, [height, width]: indices of a palette or grey levels, or colours."""
    with Image.open(file, formats=("PNG", "BMP", "TIFF", "GIF")) as opened:
        if not coloured:
            return np.asarray(opened if opened.mode in ("P", "L") else opened.convert("L")).astype(np.int64)
        red, green, blue = np.moveaxis(np.asarray(opened.convert("RGB")).astype(np.int64), -1, 0)
    return np.asarray((red << 16) + (green << 8) + blue)


def _read_classes(product: Path, masks: list[Path]) -> _Classes:
    """Return what the files beside the masks say of their values."""
    places = [product, *folders(product), *{folder.parent for folder in _mask_folders(product)}]
    label_map = next((place / _LABEL_MAP for place in places if is_file(place / _LABEL_MAP)), None)
    names = next((place / _CLASS_NAMES for place in places if is_file(place / _CLASS_NAMES)), None)
    if label_map is not None:
        classes = _Classes(listed=label_map.name)
        for number, line in enumerate(_lines(label_map), start=1):
            found = _ENTRY.match(line)
            if found is None or any(int(part) > 255 for part in found.groups()[1:4]):
                raise UserError(
                    f"{label_map}: line {number}: expected label:red,green,blue:parts:actions, found {line!r}"
                )
            red, green, blue = map(int, found.groups()[1:4])
            classes.names[(red << 16) + (green << 8) + blue] = found["name"].strip()
    elif names is not None:
        classes = _Classes(dict(enumerate(map(str.strip, _lines(names)))), coloured=False, listed=names.name)
        classes.none.add(255)
        if classes.names.get(0) == "__ignore__":  # labelme lists it first, and stores it as 255
            classes.names = {number - 1: name for number, name in classes.names.items() if number}
    else:
        classes = _Classes(coloured=not all(_is_indexed(file) for file in masks))
        classes.none |= set() if classes.coloured else {0, 255}
    classes.none |= {
        value for value, name in classes.names.items() if match_key(name) in (*BACKGROUND, *IGNORED)
    }
    if classes.coloured and classes.listed and 0 not in classes.names:
        classes.none.add(0)  # black is background where the file does not say otherwise
    return classes


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: expected a list of classes in UTF-8, cannot read it: {error}") from error
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _is_indexed(file: Path) -> bool:
    try:
        with Image.open(file) as opened:
            return opened.mode in ("P", "L", "1")
    except Exception:  # told where it is read
        return True


def _choose_background(product: Path, classes: _Classes, colours: ClassColours, values: set[Value]) -> None:
    """Add what a person says is no defect, and black where no file says anything."""
    for option, wanted in (("--background", colours.background), ("--ignore", colours.ignore)):
        for word in wanted:
            known = {match_key(classes.label(v) or ""): v for v in {*values, *classes.names}}
            found = _COLOUR.fullmatch(word)
            value = known.get(match_key(word))
            if value is None and found is not None and classes.coloured:
                red, green, blue = map(int, found.groups())
                value = (red << 16) + (green << 8) + blue
            if value is None:
                listed = ", ".join(sorted(name for name in known if name)) or "none"
                raise UserError(f"{option} {word}: expected a class of {product} ({listed}), or R,G,B")
            classes.none.add(value)
    if classes.listed or not classes.coloured or colours.background:
        return
    if values and 0 not in values:
        shown = ", ".join(_shown(value, True) for value in sorted(values)[:5])
        raise UserError(
            f"{product}: expected masks with black, the usual background, or {_LABEL_MAP}; found {shown}. "
            "Say which is the background: --background R,G,B"
        )
    classes.none.add(0)


def _shown(value: Value, coloured: bool) -> str:
    return f"({value >> 16},{value >> 8 & 255},{value & 255})" if coloured else str(value)


def _listed(product: Path) -> set[str]:
    """The names of photographs in the lists of `ImageSets`, without their endings."""
    names: set[str] = set()
    for place in (product, *folders(product)):
        for kind in folders(place / "ImageSets"):
            for file in entries(kind):
                if file.suffix.lower() == ".txt":
                    words = [line.split()[0] for line in _lines(file) if line.split()]
                    names |= {Path(word).name for word in words}
    return names


def _read_boxes(file: Path, photographs: Photographs, marked: dict[Path, Marked], problems: Problems) -> None:
    """Read an XML file's objects; a photograph that has a mask already keeps it."""
    try:
        root = parse_xml(file)
        if root.tag != "annotation":
            return
        name = root.findtext("filename") or file.stem
        path = photographs.named(name, file) or photographs.of_stem(file.name, file)
        if path is None:
            problems.warn(Kind.MISSING_FILE, file, f"its photograph {name} is not there; left out")
            return
        if path in marked:
            return
        entry = Marked(path, file, (_number(root, "size/width"), _number(root, "size/height")))
        for item in root.iter("object"):
            _mark_object(entry, item)
        marked[path] = entry
    except Exception as error:  # written by anything
        problems.warn(Kind.BROKEN_LABELS, file, f"cannot be read as Pascal VOC's ({error}); left out")


def _mark_object(entry: Marked, item: Element) -> None:
    label = (item.findtext("name") or "").strip() or "defect"
    if (polygon := item.find("polygon")) is not None:  # as Roboflow writes it: x1, y1, x2, ...
        places = {child.tag: float(child.text or "nan") for child in polygon}
        count = len(places) // 2
        entry.polygon(label, [(places[f"x{i}"], places[f"y{i}"]) for i in range(1, count + 1)])
        return
    left, top, right, bottom = (
        float(item.findtext(f"bndbox/{side}") or "nan") for side in ("xmin", "ymin", "xmax", "ymax")
    )
    entry.box(label, (left - 1, top - 1), (right, bottom))


def _number(root: Element, path: str) -> int:
    text = root.findtext(path)
    if text is None:
        raise ValueError(f"expected {path}, found none")
    return int(float(text))
