"""Layering, and what a camera adds: blur, grain and eight bits."""

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
ImageArray = NDArray[np.float32]


def over(image: ImageArray, layer: NDArray[np.float32], mask: Field) -> ImageArray:
    """`layer` (`[H, W, 3]`, or a colour `[3]`) laid over `image` where `mask` `[H, W]` is 1."""
    return np.asarray(image + (layer - image) * mask[..., None], dtype=np.float32)


def blur(image: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Gaussian blur of an image or field, standard deviation `radius` pixels, borders repeated."""
    if radius <= 0:
        return image
    reach = max(1, int(np.ceil(2.5 * radius)))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / radius) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        pad = [(0, 0)] * image.ndim
        pad[axis] = (reach, reach)
        padded = np.pad(image, pad, mode="edge")
        total = np.zeros_like(image)
        length = image.shape[axis]
        for start, weight in enumerate(weights):
            part = padded[start : start + length] if axis == 0 else padded[:, start : start + length]
            total += weight * part
        image = total
    return image


def film_grain(
    rng: np.random.Generator, image: ImageArray, strength: float, coloured: float = 0.3
) -> ImageArray:
    """Add sensor noise of standard deviation `strength`; `coloured` of it (0..1) differs between channels."""
    height, width, channels = image.shape
    grain = (1 - coloured) * rng.standard_normal((height, width, 1), dtype=np.float32)
    if coloured > 0:
        grain = grain + coloured * rng.standard_normal((height, width, channels), dtype=np.float32)
    return np.asarray(image + np.float32(strength) * grain, dtype=np.float32)


def to_uint8(image: ImageArray) -> NDArray[np.uint8]:
    """Round an image to uint8 `[H, W, 3]`, 0..255, clipping what lies outside 0..1."""
    return np.asarray(np.clip(image * 255.0 + 0.5, 0, 255), dtype=np.uint8)
