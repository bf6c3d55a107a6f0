"""Makes one 8-bit level a pixel of a mask in any mode: the further from the background, the higher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seas_runtime.photographs.conversion import has_alpha
from seas_runtime.photographs.decode import Opened, UnreadableImage

NEARLY_GREY = 16  # levels between a pixel's channels: what JPEG makes of grey
BLACK = 0.05  # of the picture: from here on black is the background of a colour mask
MANY = 64  # colours; those of classes, with what JPEG makes of them, are fewer
COMMON = 0.3  # of the picture: what the commonest colour must cover to be a background


@dataclass(frozen=True)
class GreyMask:
    """A mask's levels, of the pixels as stored."""

    levels: NDArray[np.uint8]
    """[height, width]; 0 only where the file has its background."""
    source: str = "levels"
    """What the levels are of: `levels`, `colours`, `palette` or `transparency`."""
    background: tuple[int, int, int] | None = None
    """The background's colour where it is not black."""
    refused: str = ""
    """Why this is no mask."""


def grey_mask(opened: Opened) -> GreyMask:
    """Return a mask's levels.

    Transparency is background, unless it is the same everywhere; where all that can be seen has one colour,
    it is the mask. A palette's colours count, or its indices where every colour is black. A colour counts by
    its brightest channel, or by its distance from the commonest one where there is no black.
    """
    image = opened.stored
    if opened.is_wide:
        values = _eight_bits(opened)
        return GreyMask(values) if values.ndim == 2 else _from_colours(values, "colours")
    if has_alpha(image):
        rgba = np.asarray(image.convert("RGBA"))  # [h, w, 4]
        colour, alpha = rgba[..., :3], rgba[..., 3]
        if alpha.min() != alpha.max():
            seen = colour[alpha > 0]
            if bool((seen == seen[0]).all()):
                return GreyMask(alpha, "transparency")
            return _from_colours(np.where(alpha[..., None] > 0, colour, 0), "colours")
        return _from_colours(colour, "palette" if image.mode in ("P", "PA") else "colours")
    if image.mode == "P":
        colours = np.asarray(image.convert("RGB"))
        return _from_colours(colours, "palette") if colours.any() else GreyMask(np.asarray(image), "palette")
    if image.mode in ("1", "L"):
        return GreyMask(np.asarray(image if image.mode == "L" else image.convert("L")))
    if image.mode == "LAB":
        return GreyMask(np.asarray(image.getchannel("L")))
    return _from_colours(np.asarray(image.convert("RGB")), "colours")


def _eight_bits(opened: Opened) -> NDArray[np.uint8]:
    """Values of more than 8 bits as levels: as they are up to 255, else scaled from their highest."""
    values = opened.wide_values()
    if values.ndim == 3:
        values = values[..., :3]
    least, most = float(values.min()), float(values.max())
    if least < 0:
        raise UnreadableImage(opened.path, f"expected a mask with values from 0 on, found {least:g}")
    if most <= 255 and values.dtype != np.float32:
        return values.astype(np.uint8)
    return np.ceil(values.astype(np.float64) * (255 / max(most, 1e-30))).astype(np.uint8)


def _from_colours(rgb: NDArray[np.uint8], source: str) -> GreyMask:
    brightest = rgb.max(axis=-1)
    if int((brightest - rgb.min(axis=-1)).max()) <= NEARLY_GREY:
        return GreyMask(brightest, "palette" if source == "palette" else "levels")
    coarse = rgb.astype(np.uint16) >> 3  # 32 levels a channel, so that noise does not split a colour
    codes = coarse[..., 0] << 10 | coarse[..., 1] << 5 | coarse[..., 2]
    counts = np.bincount(codes.ravel(), minlength=1)
    on_black = bool(counts[0] >= BLACK * codes.size)
    common = 0 if on_black else int(counts.argmax())
    share = counts[common] / codes.size
    rest = np.sort(np.delete(counts, common))[-MANY:]
    if rest.sum() < 0.5 * (codes.size - counts[common]):
        words = f"its colours are too many for classes: {MANY} of them are less than half of what is marked"
        return GreyMask(brightest, source, refused=words)
    if on_black:
        return GreyMask(brightest, source)
    if share < COMMON:
        refused = f"its commonest colour covers {100 * share:.0f} % of it, so that there is no background"
        return GreyMask(brightest, source, refused=refused)
    members = rgb[codes == common]
    colour = tuple(int(value) for value in np.median(members, axis=0))
    away = np.abs(rgb.astype(np.int16) - np.array(colour, np.int16)).max(axis=-1)
    return GreyMask(away.astype(np.uint8), source, (colour[0], colour[1], colour[2]))
