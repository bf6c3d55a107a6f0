"""Draws placements of a bundle's defects on photographs, and writes their masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_export.placing.sheet import Tiles, make_tiles, place_sheet
from seas_runtime.bundle.placement.placing import open_placer
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.files import os_errors, write_json
from seas_runtime.generation.resolve import find_defect
from seas_runtime.manifest.fields import check_integer, describe
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import Request
from seas_runtime.methods.table import find_method
from seas_runtime.outputs.checking import check_out
from seas_runtime.outputs.kinds import Kind
from seas_runtime.outputs.replacing import replace_directory
from seas_runtime.photographs.png import encode_png
from seas_runtime.photographs.reading import Photograph, find_photographs, read_photograph
from seas_runtime.photographs.values import Values
from seas_runtime.placement.draw import Placer
from seas_runtime.placement.options import AUTO, BOXES, SHAPES, WHERE, PlacementOptions
from seas_runtime.placement.regions import Placed
from seas_runtime.placement.where.foreground import LOOKED_AT

RECORD, SHEET = "placements.json", "placements.png"
PLACEMENTS = Kind("a folder of placements", RECORD)
SCHEMA = 1
MOST = 1000
"""Placements of a defect."""
ALL = "all"
_LONGEST = 100  # characters of a photograph's name that its masks have


@dataclass(frozen=True)
class PlaceRequest:
    """What to place. Raises UserError for a number out of range."""

    defects: tuple[str, ...] = (ALL,)
    count: int = 20
    """Of each defect."""
    seed: int = 0
    options: PlacementOptions = field(default_factory=PlacementOptions)

    def __post_init__(self) -> None:
        check_integer("--count", self.count, 1, MOST)
        Request(GOOD, self.seed)  # checks the seed


@dataclass(frozen=True)
class PlaceResult:
    """What was placed: the folder, and a record of each placement."""

    path: Path
    photographs: int
    placements: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "folder": str(self.path),
            "photographs": self.photographs,
            "placements": list(self.placements),
        }

    def rows(self) -> list[tuple[str, int, int, int]]:
        """Return for each defect how many masks there are, and the longer side of the smallest and of the
        largest in pixels."""
        sides: dict[str, list[int]] = {}
        for entry in self.placements:
            top, left, bottom, right = entry["box"]
            sides.setdefault(entry["defect"], []).append(max(bottom - top, right - left))
        return [(name, len(found), min(found), max(found)) for name, found in sides.items()]


def place(
    bundle: Path, onto: Path | None, out: Path, request: PlaceRequest, *, force: bool = False
) -> PlaceResult:
    """Draw placements on the photographs in folder `onto`, or on those of the bundle, and write them.

    `out` gets a mask as large as its photograph for each, in a folder a defect; `placements.png`, a sheet;
    and `placements.json`. Photographs take turns, with as many placements in a row as `per_background` says.
    Raises UserError for a bundle, photograph, area or mask that cannot be used, and for a placement that fits
    nowhere; nothing is then written.
    """
    opened = Bundle.read(bundle)
    options = request.options
    if options.source == AUTO:
        options = replace(options, source=find_method(opened.manifest.method).placement_source)
    files = {"--where": None if options.where in WHERE else Path(options.where)}
    files |= {"--placement-source": None if options.source in (SHAPES, BOXES) else Path(options.source)}
    files |= {"--legal": options.legal and Path(options.legal)}  # type: ignore[dict-item]
    files |= {"--forbidden": options.forbidden and Path(options.forbidden)}  # type: ignore[dict-item]
    check_out(out, PLACEMENTS, "--out", force=force, inputs={"BUNDLE": bundle, "--onto": onto, **files})
    defects = _defects(opened, request.defects)
    each = 1 if options.per_background is None else options.per_background[0]
    photographs = _Photographs(opened, onto, -(-request.count // each))
    placer = open_placer(opened, options, islice(photographs.pixels(), LOOKED_AT))
    tiles: dict[tuple[str, int], Tiles] = {}
    records: dict[tuple[str, int], dict[str, Any]] = {}
    with replace_directory(out, PLACEMENTS) as folder, os_errors(out):
        for number, (photograph, pixels) in enumerate(photographs):
            turns = [index for index in range(request.count) if index // each % len(photographs) == number]
            for defect, index in ((defect, index) for defect in defects for index in turns):
                placed = _draw(placer, opened, request.seed, defect, index, photograph, pixels)
                name = f"{defect}/{Path(photograph.name).stem[:_LONGEST]}_{index:03d}.png"
                _write_mask(folder / name, placed.full(pixels.shape[:2]))
                tiles[defect, index] = make_tiles(pixels, placed)
                records[defect, index] = _record(defect, index, photograph, placed, name)
        ordered = [records[defect, index] for defect in defects for index in range(request.count)]
        shown = {
            opened.manifest.label(name): [tiles[name, index] for index in range(request.count)]
            for name in defects
        }
        place_sheet(shown).save(folder / SHEET)
        write_json(
            folder / RECORD,
            {
                "schema": SCHEMA,
                "bundle": opened.fingerprint,
                "product": opened.manifest.product,
                "seed": request.seed,
                "options": options.to_dict(),
                "placements": ordered,
            },
        )
    return PlaceResult(out, len(photographs), tuple(ordered))


class _Photographs:
    """Photographs that placements are drawn on, read one at a time: `most` of a folder's, or of the bundle's,
    evenly chosen."""

    def __init__(self, bundle: Bundle, onto: Path | None, most: int) -> None:
        self._bundle, self._values = bundle, Values.of(bundle.manifest.preprocessing)
        self._files = None if onto is None else find_photographs(onto)
        if onto is None and not len(bundle.backgrounds):
            raise UserError(
                "--onto: expected a folder of normal photographs, found none given, and the bundle "
                f"{bundle.path} carries none. Give --onto DIR, or export it again with --backgrounds 16"
            )
        found = len(bundle.backgrounds if self._files is None else self._files)
        self._chosen = [index * found // min(found, most) for index in range(min(found, most))]

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Iterator[tuple[Photograph, npt.NDArray[np.uint8]]]:
        for index in self._chosen:
            if self._files is None:
                photograph = self._bundle.backgrounds[index]
            else:
                photograph = read_photograph(self._files[index])
            yield photograph, self._values.to_rgb8(photograph.pixels, photograph.opaque)

    def pixels(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield each photograph in 8-bit RGB [H, W, 3]."""
        return (pixels for _, pixels in self)


def _defects(bundle: Bundle, wanted: Sequence[str]) -> list[str]:
    """Return the defects of these names or labels in the bundle's order."""
    manifest = bundle.manifest
    found = {find_defect(manifest, name, ALL) for name in wanted}
    if GOOD in found:
        raise UserError(
            f"--defect: expected a defect, found {describe(GOOD)}: normals have no mask. Leave it out"
        )
    return [name for name in manifest.defects if ALL in found or name in found]


def _draw(
    placer: Placer,
    bundle: Bundle,
    seed: int,
    defect: str,
    index: int,
    photograph: Photograph,
    pixels: npt.NDArray[np.uint8],
) -> Placed:
    """Draw one placement, told by seed, defect and number alone; errors name the photograph."""
    noise = PairNoise(seed, index, 0, defect, bundle.manifest.schema)
    try:
        return placer.draw(noise.generator(Stream.PLACEMENT), defect, pixels)
    except UserError as error:
        raise UserError(f"{photograph.name}: {error}") from error


def _write_mask(file: Path, mask: npt.NDArray[np.bool_]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(encode_png(mask.astype(np.uint8) * np.uint8(255)))


def _record(defect: str, index: int, photograph: Photograph, placed: Placed, name: str) -> dict[str, Any]:
    return {
        "defect": defect,
        "index": index,
        "photograph": photograph.name,
        "sha256": photograph.sha256,
        "size": [photograph.height, photograph.width],
        "mask": name,
        "box": list(placed.box),
        "pixels": int(placed.mask.sum()),
    }
