"""What a tool marked on one picture, drawn as a mask, and the pictures sorted by what is marked on them."""

from __future__ import annotations

import base64
import io
import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

from seas_runtime.dataset.formats.shapes.runs import draw_runs
from seas_train.data.images import open_image
from seas_train.data.layouts.found import Found, FoundDefect, Pair, is_normal_word
from seas_train.data.layouts.mask_files import keep_drawn
from seas_train.data.names import HEIC_SUFFIXES, natural_key
from seas_train.data.problems import Kind, Problems

COMBINED = "combined"  # MVTec AD's own name for images with several defects
MOST_PIXELS = 178_956_970  # Pillow's limit for a picture
WAY_ON = (
    "A mask is needed for each: outline the defects with polygons or a brush (LabelMe, CVAT, Label Studio) "
    "and export COCO, YOLO segmentation or mask pictures"
)
Point = tuple[float, float]


def import_command(folder: Path | str = "DIR") -> str:
    """Return the command that lays a product out from the labels of other tools in a folder."""
    return f"seas-export data import {shlex.quote(str(folder))} --product NAME --out photos"


@dataclass(frozen=True)
class Mark:
    """A label and the pixels that it marks."""

    label: str
    draw: Callable[[Image.Image], object]
    """Draws 255 on a mask of the picture's size, mode L."""
    box: bool = False
    """Whether it is a box around the defect: a mask for an import alone."""
    weak: bool = False
    """Whether a file says that an outline is no more than a box."""


@dataclass
class Marked:
    """One picture's marks, drawn only when they are asked for, and how many others have no area.

    size: width and height of the picture that the outlines' points lie on.
    """

    image: Path
    source: Path
    """The file that holds the marks."""
    size: tuple[int, int]
    marks: list[Mark] = field(default_factory=list)
    lines: int = 0
    """Lines, points and the like."""
    broken: int = 0
    """Marks that cannot be read, each told: a picture with nothing else is no normal one."""

    @property
    def labels(self) -> set[str]:
        """The labels of outlines."""
        return {mark.label for mark in self.marks if not mark.box}

    @property
    def boxes(self) -> int:
        """How many marks are boxes or lines."""
        return sum(mark.box for mark in self.marks) + self.lines

    def drawn(self, marks: Iterable[Mark]) -> Image.Image:
        """Return a mask of some of the marks: mode L, 255 on the defect."""
        mask = Image.new("L", self.size)
        for mark in marks:
            mark.draw(mask)
        return mask

    @property
    def mask(self) -> Image.Image | None:
        """The mask of all outlines; None where there are none."""
        outlines = [mark for mark in self.marks if not mark.box]
        return self.drawn(outlines) if outlines else None

    def add(self, mark: Mark) -> None:
        """Add a mark; ValueError for a size that no picture has."""
        width, height = self.size
        if not 0 < width * height <= MOST_PIXELS or width < 1:
            raise ValueError(f"expected a picture's width and height, found {width} x {height}")
        self.marks.append(mark)

    def polygon(
        self, label: str, points: Sequence[Sequence[float]], *, box: bool = False, weak: bool = False
    ) -> None:
        """Mark what a polygon encloses, its edge with it."""
        if len(points) < 3:
            raise ValueError(f"expected a polygon of 3 points or more, found {len(points)}")
        corners = list(map(_finite, points))
        self.add(
            Mark(
                label,
                lambda mask: ImageDraw.Draw(mask).polygon(corners, fill=255, outline=255),
                box,
                weak,
            )
        )

    def box(self, label: str, corner: Sequence[float], other: Sequence[float]) -> None:
        """Mark the pixels whose middle lies in a box between two corners, one at the least."""
        (x, y), (right, bottom) = _finite(corner), _finite(other)
        left, top = math.ceil(min(x, right) - 0.5), math.ceil(min(y, bottom) - 0.5)
        last = max(left, math.ceil(max(x, right) - 0.5) - 1), max(top, math.ceil(max(y, bottom) - 0.5) - 1)
        pixels = (left, top, *last)
        self.add(Mark(label, lambda mask: ImageDraw.Draw(mask).rectangle(pixels, fill=255), box=True))

    def circle(self, label: str, centre: Sequence[float], edge: Sequence[float]) -> None:
        """Mark a circle."""
        (x, y), radius = _finite(centre), math.dist(_finite(centre), _finite(edge))
        around = (x - radius, y - radius, x + radius, y + radius)
        self.add(Mark(label, lambda mask: ImageDraw.Draw(mask).ellipse(around, fill=255)))

    def bitmap(self, label: str, encoded: str, corner: Sequence[float], *, weak: bool = False) -> None:
        """Mark a picture's pixels, a PNG in base64, from its upper left corner on."""
        data = base64.b64decode(encoded)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            opened.load()
        x, y = map(round, _finite(corner))

        def draw(mask: Image.Image) -> None:
            with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
                mask.paste(255, (x, y), opened.convert("L").point(lambda value: 255 if value else 0))

        self.add(Mark(label, draw, weak=weak))

    def runs(
        self,
        label: str,
        counts: Sequence[int],
        size: tuple[int, int],
        *,
        corner: tuple[int, int] = (0, 0),
        by_column: bool = True,
        weak: bool = False,
    ) -> None:
        """Mark runs over `size` pixels from a corner on: lengths of background and defect in turn.

        They go along the columns of the whole picture (COCO), or the rows of a part of it (CVAT).
        """
        (width, height), (left, top) = size, corner
        if by_column and size != self.size:
            raise ValueError(f"expected runs over {self.size[0]} x {self.size[1]} pixels, found others")
        if not (0 <= left <= left + width <= self.size[0] and 0 <= top <= top + height <= self.size[1]):
            raise ValueError(f"expected a mask on the picture, found {width} x {height} at {left}, {top}")
        if sum(counts) != width * height or min(counts, default=0) < 0:
            raise ValueError(f"expected runs over {width} x {height} pixels, found others")

        def draw(mask: Image.Image) -> None:
            part = draw_runs(counts, height, width, by_column=by_column)
            mask.paste(255, corner, Image.fromarray(part.astype("uint8") * 255))

        self.add(Mark(label, draw, weak=weak))


def _finite(point: Sequence[float]) -> Point:
    """Return a point as Pillow takes it."""
    x, y = float(point[0]), float(point[1])
    if not (math.isfinite(x) and math.isfinite(y) and abs(x) < 1e6 and abs(y) < 1e6):
        raise ValueError(f"expected a point on the picture, found {x:g}, {y:g}")
    return x, y


def sort_marked(marked: Iterable[Marked], normals: Sequence[Path], problems: Problems) -> Found:
    """Return normals, and each outlined picture under its label; several labels are the defect `combined`."""
    found = Found(one_pool=True, train_normals=list(normals))
    defects: dict[str, FoundDefect] = {}
    several = boxes = 0
    source: Path | None = None
    for entry in marked:
        labels = sorted(label for label in entry.labels if not is_normal_word(label))
        boxes, source = boxes + entry.boxes, entry.source if entry.boxes else source
        if labels and (drawn := entry.mask) is not None:
            label = labels[0] if len(labels) == 1 else COMBINED
            several += len(labels) > 1
            mask = keep_drawn(drawn, entry.source, problems)
            defects.setdefault(label, FoundDefect(label)).pairs.append(Pair(entry.image, mask))
        elif entry.boxes:
            problems.warn(Kind.BOXES, entry.image, "has boxes or lines and no outline; left out")
        elif not entry.broken:
            found.train_normals.append(entry.image)
    for defect in defects.values():
        defect.pairs.sort(key=lambda pair: natural_key(pair.image))
    found.defects = list(defects.values())
    found.train_normals.sort(key=natural_key)
    if boxes and not defects:
        words = (
            f"all {boxes} marks are boxes or lines. {WAY_ON}; or take boxes as weak masks: {import_command()}"
        )
        problems.error(Kind.BOXES, source, words)
    if several:
        found.notes.append(f"{several} images have several labels: they form the defect {COMBINED!r}")
    return found


def picture_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an upright picture; UserError or OSError where it is none."""
    if path.suffix.lower() in HEIC_SUFFIXES:
        return open_image(path).size
    with Image.open(path) as image:  # its head alone
        width, height = image.size
        turned = image.format != "TIFF" and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)
