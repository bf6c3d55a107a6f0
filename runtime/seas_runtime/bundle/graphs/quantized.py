"""QuantizeLinear and DequantizeLinear, as int8 bundles have them: bytes, with steps that are constants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from seas_runtime.bundle.graphs.model import Node, Tensor
from seas_runtime.bundle.graphs.rules import Given, Made, Sized, first

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
BYTES = ("int8", "uint8")
_FLOATS = ("float32", "float16")


def check_quantized(nodes: tuple[Node, ...], tensors: Mapping[str, Tensor]) -> None:
    """Refuse, by a ValueError, steps and zero points that are no constants, and bytes of any other origin.

    What is dequantized is a constant, or what one QuantizeLinear made with the same step and zero point.
    """
    made: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        if node.op not in (QUANTIZE, DEQUANTIZE):
            continue
        if not 2 <= len(node.inputs) <= 3 or len(node.outputs) != 1:
            raise ValueError(f"{node.op} of {len(node.inputs)} inputs and {len(node.outputs)} outputs")
        steps = node.inputs[1:]
        if any(name not in tensors for name in steps):
            raise ValueError(f"a step or zero point of {node.op} that is no constant")
        if node.op == QUANTIZE:
            if len(steps) != 2:
                raise ValueError(f"{QUANTIZE} without a zero point, which tells its type")
            made[node.outputs[0]] = steps
        elif node.inputs[0] not in tensors and made.get(node.inputs[0]) != steps:
            raise ValueError(f"{DEQUANTIZE} of what no {QUANTIZE} with its step and zero point made")


def quantized(node: Node, given: Given) -> Made:
    """Return bytes in the place of floating-point numbers."""
    source, zero = first(given), first(given, 2)
    if source.dtype not in _FLOATS or zero.dtype not in BYTES:
        raise ValueError(f"{QUANTIZE} of {source.dtype} to {zero.dtype}, expected floats to {BYTES[0]}")
    _check_steps(node, source, given, source.dtype)
    return Made((Sized(source.shape, zero.dtype),), source.elements)


def dequantized(node: Node, given: Given) -> Made:
    """Return floating-point numbers in the place of bytes, of the step's type."""
    source, step = first(given), first(given, 1)
    if source.dtype not in BYTES:
        raise ValueError(f"{DEQUANTIZE} of {source.dtype}, expected {' or '.join(BYTES)}")
    if step.dtype not in _FLOATS:
        raise ValueError(f"{DEQUANTIZE} with a step of {step.dtype}")
    _check_steps(node, source, given, step.dtype)
    return Made((Sized(source.shape, step.dtype),), source.elements)


def _check_steps(node: Node, source: Sized, given: Given, dtype: str) -> None:
    """Refuse steps and zero points that are not one for all, or one for each place along the axis."""
    step = first(given, 1)
    zero = given[2] if len(given) > 2 else None
    if step.dtype != dtype:
        raise ValueError(f"a step of {step.dtype} for {dtype}")
    if step.shape not in ((), (1,)):
        axis, rank = node.attributes.get("axis", 1), len(source.shape)
        if not -rank <= axis < rank or step.shape != (source.shape[axis],):
            raise ValueError(f"steps of {list(step.shape)} along axis {axis} of {list(source.shape)}")
    elif "axis" in node.attributes:
        raise ValueError(f"the axis of {node.op} with one step")
    if step.values is not None and not (np.isfinite(step.values) & (step.values > 0)).all():
        raise ValueError(f"a step of {node.op} that is not above 0")
    if zero is not None and (zero.shape != step.shape or zero.dtype not in BYTES):
        raise ValueError(f"a zero point of {zero.dtype} {list(zero.shape)} for a step of {list(step.shape)}")
    if node.op == DEQUANTIZE and zero is not None and zero.dtype != source.dtype:
        raise ValueError(f"a zero point of {zero.dtype} for {source.dtype}")
