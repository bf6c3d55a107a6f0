"""A bundle that draws into photographs, and photographs of every kind to draw into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seas_runtime.photographs.png import encode_png
from tests.runtime.bundles import Toy, toy_backgrounds, write_tiny_bundle

GENERATION = {"mask_steps": 3, "tau": 0.2, "blend": "fixed", "regions": True}
TURNED = 6  # EXIF: a quarter turn clockwise is to be made


def write_placing_bundle(path: Path, **generation: Any) -> Path:
    """Write a tiny bundle that was trained on regions, with shapes and two backgrounds."""
    toy = Toy(blend="fixed", placement=True)
    return write_tiny_bundle(path, toy, generation={**GENERATION, **generation})


def write_photographs(folder: Path) -> dict[str, np.ndarray]:
    """Write a photograph of each kind; return their values by name, upright."""
    folder.mkdir()
    random = np.random.default_rng(5)
    wide, colour = toy_backgrounds()
    colour = np.clip(colour + random.normal(0, 4, colour.shape), 0, 255).astype(np.uint8)
    grey = colour[..., 1].copy()
    wide_colour = colour.astype(np.uint16) * 257 - random.integers(0, 200, colour.shape).astype(np.uint16)
    alpha = np.full_like(grey, 255)
    alpha[:, 100:] = 90
    made = {
        "colour.png": colour,
        "grey.png": grey,
        "wide_grey.png": wide,
        "wide_colour.png": wide_colour,
        "transparent.png": np.dstack([colour, alpha]),
        "wide_grey_transparent.png": np.dstack([wide, alpha.astype(np.uint16) * 257]),
    }
    for name, pixels in made.items():
        (folder / name).write_bytes(encode_png(pixels))
    exif = Image.Exif()
    exif[0x0112] = TURNED
    Image.fromarray(colour).save(folder / "turned.jpg", quality=95, exif=exif)
    with Image.open(folder / "turned.jpg") as stored:
        made["turned.jpg"] = np.rot90(np.asarray(stored), -1)
    return made
