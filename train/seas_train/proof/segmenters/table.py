"""The segmenters by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from seas_runtime.errors import UserError

if TYPE_CHECKING:
    from seas_train.proof.segmenters.contract import Segmenter


def _unet(pretrained: bool) -> Segmenter:
    from seas_train.proof.segmenters.smp import LIGHT, LibrarySegmenter

    return LibrarySegmenter("Unet", pretrained, **LIGHT)


def _upernet(pretrained: bool) -> Segmenter:
    from seas_train.proof.segmenters.smp import LibrarySegmenter

    return LibrarySegmenter("UPerNet", pretrained, decoder_channels=64)


def _small(pretrained: bool) -> Segmenter:
    from seas_train.proof.segmenters.small import SmallUNet

    return SmallUNet()


def _bisenet(pretrained: bool) -> Segmenter:
    from seas_train.proof.segmenters.bisenet.network import BiSeNetV2

    return BiSeNetV2()


def _draem(pretrained: bool) -> Segmenter:
    from seas_train.proof.segmenters.draem.segmenter import Draem

    return Draem()


def _draem_narrow(pretrained: bool) -> Segmenter:
    from seas_train.proof.segmenters.draem.segmenter import NARROW, Draem

    return Draem(NARROW)


SEGMENTERS: dict[str, Callable[[bool], Segmenter]] = {
    "unet": _unet,
    "upernet": _upernet,
    "bisenet": _bisenet,
    "draem": _draem,
    "draem-narrow": _draem_narrow,
    "small": _small,
}
PRETRAINED = ("unet", "upernet")
"""Those that have an encoder with ImageNet's weights."""
DRAWING = ("draem", "draem-narrow")
"""Those that draw anomalies into normals themselves."""


def check_segmenter(name: str) -> None:
    """Raise a UserError where there is no segmenter of this name."""
    if name not in SEGMENTERS:
        raise UserError(f"--segmenter: expected one of {', '.join(SEGMENTERS)}, found {name!r}")


def make_segmenter(name: str, pretrained: bool) -> Segmenter:
    """Return a new segmenter; `pretrained` where it has such weights. UserError for a name that is none."""
    check_segmenter(name)
    return SEGMENTERS[name](pretrained and name in PRETRAINED)
