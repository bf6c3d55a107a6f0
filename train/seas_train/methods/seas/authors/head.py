"""The authors' mask head: `mask-checkpoint/rmp`, a state dict that `torch.save` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from seas_train.bases.tensor_files import read_pickle
from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.methods.seas.mask_head.network.head import MaskHead, load_state
from seas_train.methods.seas.taps import TapGeometry

# The authors' widths, which also stand where a file does not tell (SD 1.4: 1280 -> 128, 640 -> 64).
_COARSE_WIDTH, _FINE_WIDTH = 128, 64


def read_authors_head(file: Path, taps: TapGeometry) -> MaskHead:
    """Read a mask head for features of these channels; evaluation mode, float32.

    Nothing of the file is executed; see `seas_train.bases.tensor_files`.

    Raises:
        UserError: the file is none, holds more than tensors, or its tensors are not such a head's; every
            missing, extra and misshapen one is named.
    """
    state = {name: tensor.float() for name, tensor in read_pickle(file).items()}
    architecture = MaskHeadArchitecture(
        tap_coarse_channels=taps.coarse,
        tap_fine_channels=taps.fine,
        vae_tap_channels=taps.vae,
        coarse_width=_width(state, "low_feature_conv.0.weight", _COARSE_WIDTH),
        fine_width=_width(state, "mid_feature_conv.0.weight", _FINE_WIDTH),
    )
    head = MaskHead(architecture)
    load_state(head, state, file)
    return head.eval()


def _width(state: Mapping[str, Tensor], name: str, otherwise: int) -> int:
    """How many channels a 1x1 convolution of the state gives."""
    weight = state.get(name)
    return int(weight.shape[0]) if weight is not None and weight.ndim == 4 else otherwise
