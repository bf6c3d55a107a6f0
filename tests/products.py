"""A tiny product in MVTec AD layout: grey plates, with bright squares and dark lines as defects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

DEFECTS = ("dark_line", "Spot")


def write_tiny_product(
    path: Path, *, size: int = 64, pairs: int = 6, normals: int = 4, seed: int = 0
) -> Path:
    """Write a product of two defects; a third of the pairs of each train. Everything follows from the
    seed."""
    random = np.random.default_rng(seed)

    def plate() -> np.ndarray:
        image = np.full((size, size, 3), 120, dtype=np.int64) + random.integers(-10, 10, (size, size, 1))
        image[size // 8 : -size // 8, size // 8 : -size // 8] += 40
        return image

    def write(image: np.ndarray, *parts: str) -> None:
        file = path.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(file)

    for index in range(normals):
        write(plate(), "train", "good", f"{index:03d}.png")
        write(plate(), "test", "good", f"{index:03d}.png")
    for defect in DEFECTS:
        for index in range(pairs):
            image, mask = plate(), np.zeros((size, size), dtype=np.int64)
            top, left = random.integers(size // 8, size // 2, 2)
            height, width = (size // 16, size // 3) if defect == "dark_line" else (size // 4, size // 4)
            mask[top : top + height, left : left + width] = 255
            image[mask > 0] = 30 if defect == "dark_line" else 240
            write(image, "test", defect, f"{index:03d}.png")
            write(mask, "ground_truth", defect, f"{index:03d}_mask.png")
    return path
