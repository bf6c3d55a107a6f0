"""Renders the world once into files that training reads at random."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seas_runtime.files import write_json
from seas_train.bases.micro.world.world import IMAGE_SIZE, render_scene, render_texture

logger = logging.getLogger(__name__)

_CHUNK = 250


def _scene(seed: int, index: int) -> tuple[NDArray[np.uint8], str]:
    scene = render_scene(seed, index)
    return scene.image, scene.caption


def _texture(seed: int, index: int) -> tuple[NDArray[np.uint8], str]:
    return render_texture(seed, index), ""


def _render_chunk(
    draw: Callable[[int, int], tuple[NDArray[np.uint8], str]], path: Path, seed: int, start: int, stop: int
) -> list[str]:
    """Render images `start`..`stop` into the array at `path`; returns their captions."""
    images = np.load(path, mmap_mode="r+")
    captions = []
    for index in range(start, stop):
        images[index], caption = draw(seed, index)
        captions.append(caption)
    images.flush()
    return captions


def _rendered(kind: str, folder: Path, seed: int, count: int) -> tuple[NDArray[np.uint8], list[str]]:
    images_path = folder / f"{kind}_{seed}_{count}.npy"
    captions_path = images_path.with_suffix(".json")
    if not captions_path.exists():  # written last, so it stands for a finished rendering
        folder.mkdir(parents=True, exist_ok=True)
        logger.info("rendering %d %s", count, kind)
        beside = images_path.with_suffix(".new")
        with beside.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (count, IMAGE_SIZE, IMAGE_SIZE, 3)}
            )
            file.truncate(file.tell() + count * IMAGE_SIZE * IMAGE_SIZE * 3)
        starts = range(0, count, _CHUNK)
        stops = [min(count, start + _CHUNK) for start in starts]
        draw = partial(_render_chunk, _scene if kind == "scenes" else _texture, beside, seed)
        with ProcessPoolExecutor() as pool:
            captions = [caption for chunk in pool.map(draw, starts, stops) for caption in chunk]
        beside.replace(images_path)
        write_json(captions_path, captions)
    captions = json.loads(captions_path.read_text(encoding="utf-8"))
    return np.load(images_path, mmap_mode="r"), captions


def scenes(folder: Path, seed: int, count: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Scenes 0..count of the world of `seed`: images uint8 `[count, 256, 256, 3]` and captions."""
    return _rendered("scenes", folder, seed, count)


def textures(folder: Path, seed: int, count: int) -> NDArray[np.uint8]:
    """Textures 0..count of the world of `seed`: uint8 `[count, 256, 256, 3]`."""
    return _rendered("textures", folder, seed, count)[0]
