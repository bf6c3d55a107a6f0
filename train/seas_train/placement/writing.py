"""Writes what a checkpoint brings for placed pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from seas_runtime.errors import UserError
from seas_runtime.files import write_json
from seas_runtime.manifest.types import GOOD
from seas_runtime.photographs.png import encode_png
from seas_runtime.photographs.reading import Photograph, read_photograph
from seas_runtime.placement.masks.cutting import cut_shapes
from seas_runtime.placement.masks.shapes import Shape, pack_shapes
from seas_runtime.placement.where.foreground import find_part, shows_background
from seas_train.data import Defect, Product
from seas_train.placement.files import (
    BACKGROUNDS,
    DESCRIPTION,
    IMAGES,
    MASKS,
    REGIONS,
    SCHEMA,
    SHAPES,
)

MOST_VIEWS = 16
"""Of each defect and of the normals."""
MOST_BACKGROUNDS = 16
MOST_BYTES = 200_000_000
"""Of all backgrounds together; of larger photographs there are fewer."""

T = TypeVar("T")
UInt8Array = NDArray[np.uint8]


def write_placement(folder: Path, product: Product) -> None:
    """Write a product's shapes, views, backgrounds and figures into `folder`, which is made.

    A photograph is in memory one at a time.
    """
    (folder / BACKGROUNDS).mkdir(parents=True)
    background = shows_background(np.asarray(product.photograph(path)) for path in product.normals)
    shapes: dict[str, list[Shape]] = {}
    tensors: dict[str, UInt8Array] = {}
    for defect in product.defects:
        shapes[defect.name], images, masks = _look_at_defect(product, defect, background)
        tensors[f"{defect.name}/{IMAGES}"], tensors[f"{defect.name}/{MASKS}"] = images, masks
    tensors[f"{GOOD}/{IMAGES}"], normals = _look_at_normals(product, folder / BACKGROUNDS)
    save_file(pack_shapes(shapes, background), folder / SHAPES)
    save_file(tensors, folder / REGIONS)
    write_json(
        folder / DESCRIPTION,
        {
            "schema": SCHEMA,
            "regions": product.regions is not None,
            **({} if product.regions is None else {"options": product.regions.options.to_dict()}),
            "size": product.preprocessing.size,
            "defects": {name: _sizes(found) for name, found in shapes.items()},
            "normals": normals,
        },
    )


def _look_at_defect(
    product: Product, defect: Defect, background: bool
) -> tuple[list[Shape], UInt8Array, UInt8Array]:
    """Return the shapes of a defect's training masks, and views [n, S, S, 3] with their masks [n, S, S]."""
    chosen = spread([(pair, view) for pair in defect.train for view in product.pair_views(pair)], MOST_VIEWS)
    shapes: list[Shape] = []
    images, masks = [], []
    for pair in defect.train:
        photograph, marking = product.photograph(pair.image), product.marking(pair)
        pixels = np.asarray(photograph)
        shapes += cut_shapes(np.asarray(marking) > 0, find_part(pixels, background), pixels)
        for view in [view for owner, view in chosen if owner == pair]:
            images.append(product.seen(photograph, view.region))
            masks.append(product.seen_mask(marking, view.region).astype(np.uint8))
    return shapes, np.stack(images), np.stack(masks)


def _look_at_normals(product: Product, folder: Path) -> tuple[UInt8Array, dict[str, Any]]:
    """Write backgrounds into `folder`; return views of normals [n, S, S, 3], and figures of all of them."""
    chosen = spread([view for path in product.normals for view in product.normal_views(path)], MOST_VIEWS)
    wanted = set(spread(product.normals, MOST_BACKGROUNDS))
    modes: Counter[str] = Counter()
    sizes, brightness, images, room = [], [], [], MOST_BYTES
    for path in product.normals:
        photograph = product.photograph(path)
        sizes.append(photograph.size)
        brightness.append(float(np.asarray(photograph.convert("L")).mean()))
        images += [product.seen(photograph, view.region) for view in chosen if view.image == path]
        own = _as_it_is(path)
        modes["other" if own is None else own.mode] += 1
        if own is not None and path in wanted and room > 0:
            data = encode_png(own.pixels)
            room -= len(data)
            if room >= 0:
                name = f"{len(list(folder.iterdir())):03d}.png"
                (folder / name).write_bytes(data)
    return np.stack(images), {
        "count": len(product.normals),
        "width": _range([size[0] for size in sizes]),
        "height": _range([size[1] for size in sizes]),
        "modes": dict(modes),
        "brightness": _range(brightness),
    }


def _as_it_is(path: Path) -> Photograph | None:
    """A photograph with its own values; None where 8 or 16 bits do not hold them."""
    try:
        return read_photograph(path)
    except UserError:
        return None


def _sizes(shapes: Sequence[Shape]) -> dict[str, Any]:
    """Figures of shapes: how many, and their longer sides in pixels."""
    return {"shapes": len(shapes), "longest": _range([max(shape.mask.shape) for shape in shapes])}


def _range(values: Sequence[float]) -> list[float]:
    """The least, the median and the greatest."""
    return [round(float(value), 2) for value in (min(values), np.median(values), max(values))]


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return `count` of the items, or all of fewer, evenly spread."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]
