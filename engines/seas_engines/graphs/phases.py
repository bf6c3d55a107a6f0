"""Nearest-neighbour upsampling by two before a 3x3 kernel, and the taps that meet in one pixel then.

Which taps meet depends on whether the large image's row or column is even or odd: its phase.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Floats = npt.NDArray[np.floating[Any]]
_NEAREST = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
_PLAIN = {"pads": [1] * 4, "strides": [1, 1], "dilations": [1, 1]}


def doubles(resize: ir.Node, scales: list[int]) -> bool:
    """Whether a Resize repeats pixels, by these factors along its axes."""
    given = resize.inputs[2] if len(resize.inputs) == 3 else None
    factors = ir.convenience.get_const_tensor(given) if given is not None else None
    found = {name: resize.attributes[name].as_string() for name in _NEAREST if name in resize.attributes}
    return found == _NEAREST and factors is not None and factors.numpy().tolist() == scales


def keeps_size(convolution: ir.Node) -> bool:
    """Whether a convolution of 3x3 kernels keeps the image's size, in one group."""
    attributes = convolution.attributes
    found = {name: list(attributes[name].as_ints()) for name in _PLAIN if name in attributes}
    return found == _PLAIN and ("group" not in attributes or attributes["group"].as_int() == 1)


def merged(taps: Floats, phase: int, axis: int) -> Floats:
    """Return a phase's two taps along an axis of three: the last two added up, in an odd one the first."""
    first, middle, last = np.moveaxis(taps, axis, 0)
    return np.stack([first, middle + last] if phase == 0 else [first + middle, last], axis)
