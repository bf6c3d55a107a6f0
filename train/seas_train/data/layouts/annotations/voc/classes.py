"""What the colours or indices of masks mean: by the files beside them, and by what a person says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from seas_runtime.errors import UserError
from seas_train.data.layouts.found import folders, is_file
from seas_train.data.names import match_key

_LABEL_MAP, _CLASS_NAMES = "labelmap.txt", "class_names.txt"
_ENTRY = re.compile(r"(?P<name>[^:]*):\s*(?:(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*)?(?::|$)")
_COLOUR = re.compile(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*")
BACKGROUND = ("background", "_background_", "__background__", "bg")
IGNORED = ("ignore", "ignored", "__ignore__", "void", "unlabeled", "unlabelled")

Value = int
"""An index, or a colour as 65536 * red + 256 * green + blue."""


@dataclass(frozen=True)
class ClassColours:
    """What a person says of masks' colours: names of classes, or `R,G,B`, that are no defect."""

    background: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass
class Classes:
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


def voc_colour(index: int) -> Value:
    """Return the colour of an index by VOC's own rule: three bits of it for each bit of red, green, blue."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red, green, blue = (
            red | (index & 1) << shift,
            green | (index >> 1 & 1) << shift,
            blue | (index >> 2 & 1) << shift,
        )
        index >>= 3
    return (red << 16) + (green << 8) + blue


def read_classes(product: Path, masks: list[Path]) -> Classes:
    """Return what the files beside the masks say of their values."""
    places = [product, *folders(product), *sorted({file.parent.parent for file in masks})]
    label_map = next((place / _LABEL_MAP for place in places if is_file(place / _LABEL_MAP)), None)
    names = next((place / _CLASS_NAMES for place in places if is_file(place / _CLASS_NAMES)), None)
    if label_map is not None:
        classes = Classes(listed=label_map.name)
        for number, line in enumerate(read_lines(label_map), start=1):
            found = _ENTRY.match(line)
            parts = [int(part) for part in found.groups()[1:4] if part] if found else []
            if found is None or max(parts, default=0) > 255:
                raise UserError(
                    f"{label_map}: line {number}: expected label:red,green,blue:parts:actions, found {line!r}"
                )
            colour = (parts[0] << 16) + (parts[1] << 8) + parts[2] if parts else voc_colour(number - 1)
            classes.names[colour] = found["name"].strip()
    elif names is not None:
        classes = Classes(
            dict(enumerate(map(str.strip, read_lines(names)))), coloured=False, listed=names.name
        )
        classes.none.add(255)
        if classes.names.get(0) == "__ignore__":  # labelme lists it first, and stores it as 255
            classes.names = {number - 1: name for number, name in classes.names.items() if number}
    else:
        classes = Classes(coloured=not all(_is_indexed(file) for file in masks))
        classes.none |= set() if classes.coloured else {0, 255}
    classes.none |= {
        value for value, name in classes.names.items() if match_key(name) in (*BACKGROUND, *IGNORED)
    }
    if classes.coloured and classes.listed and 0 not in classes.names:
        classes.none.add(0)  # black is background where the file does not say otherwise
    return classes


def read_lines(file: Path) -> list[str]:
    """Return a text file's lines but for empty ones and comments; UserError where it is not UTF-8."""
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


def choose_background(product: Path, classes: Classes, colours: ClassColours, values: set[Value]) -> None:
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
        shown = ", ".join(shown_value(value, True) for value in sorted(values)[:5])
        raise UserError(
            f"{product}: expected masks with black, the usual background, or {_LABEL_MAP}; found {shown}. "
            "Say which is the background: --background R,G,B"
        )
    classes.none.add(0)


def shown_value(value: Value, coloured: bool) -> str:
    """Return a value for a message: `(128,0,0)` or `3`."""
    return f"({value >> 16},{value >> 8 & 255},{value & 255})" if coloured else str(value)
