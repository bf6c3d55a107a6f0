"""The classifiers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from seas_runtime.errors import UserError

if TYPE_CHECKING:
    from torch import nn


def _small(classes: int) -> nn.Module:
    from seas_train.proof.classifiers.resnet import ResNet

    return ResNet(classes, (1, 1, 1, 1), 16)


def _resnet34(classes: int) -> nn.Module:
    from seas_train.proof.classifiers.resnet import ResNet

    return ResNet(classes, (3, 4, 6, 3), 64)


def _lite0(classes: int) -> nn.Module:
    from seas_train.proof.segmenters.lite0 import classifier

    made: nn.Module = classifier()
    made.reset_classifier(classes)  # type: ignore[operator]
    return made


CLASSIFIERS: dict[str, Callable[[int], nn.Module]] = {
    "resnet-small": _small,
    "resnet34": _resnet34,
    "lite0": _lite0,
}
"""The ResNets begin with random weights, `lite0` with ImageNet's."""


def check_classifier(name: str) -> None:
    """Raise a UserError where there is no classifier of this name."""
    if name not in CLASSIFIERS:
        raise UserError(f"--classifier: expected one of {', '.join(CLASSIFIERS)}, found {name!r}")


def make_classifier(name: str, classes: int) -> nn.Module:
    """Return a new classifier from pictures [B, 3, h, w] of -1 to 1 to logits [B, classes]."""
    check_classifier(name)
    return CLASSIFIERS[name](classes)
