"""Finished datasets, written by hand: pictures of several sizes, depths and modes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seas_runtime.dataset.layout import pair_paths

SIZES = ((40, 30), (31, 47), (64, 64))  # width, height
KINDS = ("L", "RGB", "I;16", "RGBA")


def blob(random: np.random.Generator, size: tuple[int, int], *, hole: bool = False) -> np.ndarray:
    """Return a mask [height, width] of a ragged region or two, with a hole or without; never empty."""
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(int(random.integers(1, 3))):
        top, left = random.integers(1, height // 2), random.integers(1, width // 2)
        for row in range(int(random.integers(4, height // 3))):
            start = left + int(random.integers(0, 3))
            mask[top + row, start : start + int(random.integers(3, width // 3))] = True
    if hole:
        mask[5:15, 5:15], mask[8:11, 8:12], mask[7, 7] = True, False, False
    return mask


def picture(random: np.random.Generator, size: tuple[int, int], kind: str) -> Image.Image:
    """Return a photograph of noise, which no reader takes for a mask."""
    shape = size[::-1]
    if kind == "I;16":
        return Image.fromarray(random.integers(0, 65536, shape).astype(np.uint16))
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[kind]
    return Image.fromarray(random.integers(0, 256, (*shape, *channels)).astype(np.uint8))


def write_finished(
    path: Path,
    defects: Sequence[str] = ("scratch", "dent", "good"),
    count: int = 5,
    *,
    weak: Sequence[tuple[str, int]] = (),
    rejected: Sequence[tuple[str, int]] = (),
    deleted: Sequence[tuple[str, int]] = (),
    beyond: Sequence[tuple[str, int]] = (),
    kinds: Sequence[str] = KINDS,
) -> dict[str, np.ndarray]:
    """Write a dataset as `generate` leaves it; return the masks of its accepted pairs by name.

    `beyond` are those that were made beyond what was wanted, and not chosen.
    """
    random = np.random.default_rng(5)
    path.mkdir(parents=True, exist_ok=True)
    records, masks = [], {}
    for defect in defects:
        for index in range(count):
            key, files = (defect, index), pair_paths(defect, index)
            accepted = key not in rejected
            record: dict[str, Any] = {"defect": defect, "index": index, "accepted": accepted, "attempts": []}
            record |= {"times": {"total": 0.5}, "files": files if accepted else None}
            record |= {"weak": True} if key in weak else {}
            record |= {"deleted": True} if key in deleted else {}
            record |= {"kept": False, "files": None} if key in beyond else {}
            records.append(record)
            if not accepted or key in (*deleted, *beyond):
                continue
            size = SIZES[index % len(SIZES)]
            _save(picture(random, size, kinds[index % len(kinds)]), path / files["image"])
            if "mask" not in files:
                continue
            mask = blob(random, size, hole=index % 2 == 1 and key not in weak)
            if key in weak:
                mask[:] = False
                mask[4:17, 6:22] = True
            _save(Image.fromarray(mask.astype(np.uint8) * 255), path / files["mask"])
            masks[f"{defect}_{index:06d}"] = mask
    description = {"schema": 1, "product": "bracket", "bundle": "0" * 64, "backend": "cpu", "seed": 3}
    description |= {"defects": list(defects), "count": count, "licences": ["CreativeML OpenRAIL-M"]}
    (path / "dataset.json").write_text(json.dumps(description))
    (path / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return masks


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by its path."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }
