"""A product of rough grey plates: the first pairs do not show all kinds of its blots and stripes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

DEFECTS = ("blot", "stripe")


def surface(random: np.random.Generator, size: int = 64) -> np.ndarray:
    """A plate [size, size] with grain and soft clouds."""
    clouds = Image.fromarray(random.normal(128, 60, (size, size)).clip(0, 255).astype(np.uint8))
    soft = np.asarray(clouds.filter(ImageFilter.GaussianBlur(6)), np.float64)
    return soft + random.normal(0, 5, (size, size))


def shape(random: np.random.Generator, defect: str, size: int = 64) -> np.ndarray:
    """A mask [size, size] of one defect somewhere."""
    rows, columns = np.mgrid[:size, :size]
    row, column = random.integers(14, size - 14, 2)
    if defect == "blot":
        radius = random.uniform(5, 9)
        return (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    angle = random.uniform(0, np.pi)
    along = (columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)
    across = -(columns - column) * np.sin(angle) + (rows - row) * np.cos(angle)
    return (abs(along) < 12) & (abs(across) < 2.5)


def photograph(
    random: np.random.Generator, defect: str | None, dark: bool = False, size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """A photograph [size, size] and its mask; a defect is brighter than its plate, or darker."""
    image = surface(random, size)
    if defect is None:
        return image.clip(0, 255).astype(np.uint8), np.zeros((size, size), bool)
    mask = shape(random, defect, size)
    soft = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.7)))
    strength = -32 if dark else 32
    return (image + strength * (soft.astype(np.float64) / 255)).clip(0, 255).astype(np.uint8), mask


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_pair(root: Path, defect: str, index: int, image: np.ndarray, mask: np.ndarray) -> None:
    write(root / "test" / defect / f"{index:03d}.png", image)
    write(root / "ground_truth" / defect / f"{index:03d}_mask.png", mask.astype(np.uint8) * 255)


def write_textured_product(root: Path, *, pairs: int = 18, normals: int = 12, seed: int = 0) -> Path:
    """Write a product in MVTec AD layout. The first four pairs of each defect are bright, of the others every
    second one: who trains on these four has not seen what there is."""
    random = np.random.default_rng(seed)
    for index in range(normals):
        write(root / "train/good" / f"{index:03d}.png", photograph(random, None)[0])
        write(root / "test/good" / f"{index:03d}.png", photograph(random, None)[0])
    for defect in DEFECTS:
        for index in range(pairs):
            write_pair(root, defect, index, *photograph(random, defect, dark=index >= 4 and index % 2 == 1))
    return root
