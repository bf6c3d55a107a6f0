"""What a tool marked on one picture, drawn as a mask, and the pictures sorted by what is marked on them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

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


@dataclass
class Marked:
    """One picture's marks: what they outline by label, and how many were left out as boxes or lines.

    size: width and height of the picture that the outlines' points lie on.
    """

    image: Path
    source: Path
    """The file that holds the marks."""
    size: tuple[int, int]
    labels: set[str] = field(default_factory=set)
    boxes: int = 0
    mask: Image.Image | None = None

    def canvas(self) -> Image.Image:
        """Return the mask drawn so far; ValueError for a size that no picture has."""
        if self.mask is None:
            width, height = self.size
            if not 0 < width * height <= MOST_PIXELS or width < 1:
                raise ValueError(f"expected a picture's width and height, found {width} x {height}")
            self.mask = Image.new("L", (width, height))
        return self.mask

    def polygon(self, label: str, points: Sequence[Point]) -> None:
        """Mark what a polygon encloses, its edge with it."""
        if len(points) < 3:
            raise ValueError(f"expected a polygon of 3 points or more, found {len(points)}")
        ImageDraw.Draw(self.canvas()).polygon(list(map(_finite, points)), fill=255, outline=255)
        self.labels.add(label)

    def circle(self, label: str, centre: Point, edge: Point) -> None:
        """Mark a circle."""
        (x, y), radius = _finite(centre), math.dist(_finite(centre), _finite(edge))
        ImageDraw.Draw(self.canvas()).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        self.labels.add(label)

    def bitmap(self, label: str, encoded: str, corner: Point) -> None:
        """Mark a picture's pixels, a PNG in base64, from its upper left corner on."""
        with Image.open(io.BytesIO(base64.b64decode(encoded)), formats=("PNG",)) as opened:
            part = opened.convert("L").point(lambda value: 255 if value else 0)
        x, y = _finite(corner)
        self.canvas().paste(255, (round(x), round(y)), part)
        self.labels.add(label)

    def runs(self, label: str, counts: Sequence[int], size: tuple[int, int]) -> None:
        """Mark COCO's runs: lengths of background and defect in turn, column by column."""
        import numpy as np

        if sum(counts) != size[0] * size[1] or min(counts, default=0) < 0 or size != self.size:
            raise ValueError(f"expected runs over {self.size[0]} x {self.size[1]} pixels, found others")
        values = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8) * 255
        part = Image.fromarray(np.ascontiguousarray(values.reshape(size[0], size[1]).T))
        self.canvas().paste(255, (0, 0), part)
        self.labels.add(label)


def _finite(point: Sequence[float]) -> Point:
    """Return a point as Pillow takes it."""
    x, y = float(point[0]), float(point[1])
    if not (math.isfinite(x) and math.isfinite(y) and abs(x) < 1e6 and abs(y) < 1e6):
        raise ValueError(f"expected a point on the picture, found {x:g}, {y:g}")
    return x, y


def sort_marked(marked: Iterable[Marked], normals: Sequence[Path], problems: Problems) -> Found:
    """Return normals, and each marked picture under its label; several labels make the defect `combined`."""
    found = Found(one_pool=True, train_normals=list(normals))
    defects: dict[str, FoundDefect] = {}
    several = boxes = 0
    source: Path | None = None
    for entry in marked:
        labels = sorted(label for label in entry.labels if not is_normal_word(label))
        boxes, source = boxes + entry.boxes, entry.source if entry.boxes else source
        if labels and entry.mask is not None:
            label = labels[0] if len(labels) == 1 else COMBINED
            several += len(labels) > 1
            mask = keep_drawn(entry.mask, entry.source, problems)
            defects.setdefault(label, FoundDefect(label)).pairs.append(Pair(entry.image, mask))
        elif entry.boxes:
            problems.warn(Kind.BOXES, entry.image, "has boxes or lines and no outline; left out")
        else:
            found.train_normals.append(entry.image)
    for defect in defects.values():
        defect.pairs.sort(key=lambda pair: natural_key(pair.image))
    found.defects = list(defects.values())
    found.train_normals.sort(key=natural_key)
    if boxes and not defects:
        problems.error(Kind.BOXES, source, f"all {boxes} marks are boxes or lines. {WAY_ON}")
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
