"""What the check of graphs says of int8: honest ones are sized as they are, others refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from seas_runtime.bundle.graphs.model import Node, Tensor
from seas_runtime.bundle.graphs.quantized import check_quantized, dequantized, quantized
from seas_runtime.bundle.graphs.rules import Sized

STEP, ZERO = Sized((), "float32", np.array(0.1, np.float32)), Sized((), "int8", np.array(0, np.int8))
STEPS = Sized((8,), "float32", np.full(8, 0.1, np.float32))


def node(op: str, *inputs: str, **attributes: int) -> Node:
    return Node("", op, inputs, (f"{op}_out",), attributes)


def test_sizes_and_types() -> None:
    source = Sized((2, 8, 4, 4), "float32")
    (bytes_,) = quantized(node("QuantizeLinear", "x", "s", "z"), [source, STEP, ZERO]).outputs
    assert (bytes_.shape, bytes_.dtype, bytes_.size) == ((2, 8, 4, 4), "int8", 256)
    (back,) = dequantized(node("DequantizeLinear", "i", "s", "z"), [bytes_, STEP, ZERO]).outputs
    assert (back.shape, back.dtype, back.size) == ((2, 8, 4, 4), "float32", 1024)
    weight = Sized((8, 3, 3, 3), "int8")
    (wide,) = dequantized(node("DequantizeLinear", "w", "s", axis=0), [weight, STEPS]).outputs
    assert (wide.shape, wide.dtype) == ((8, 3, 3, 3), "float32")


@pytest.mark.parametrize(
    ("source", "steps", "attributes", "words"),
    [
        (Sized((8, 3), "float32"), STEPS, {"axis": 0}, "DequantizeLinear of float32"),
        (Sized((8, 3), "int8"), STEPS, {"axis": 1}, r"steps of \[8\] along axis 1 of \[8, 3\]"),
        (Sized((8, 3), "int8"), STEPS, {"axis": -3}, "along axis -3"),
        (Sized((8, 3), "int8"), STEP, {"axis": 0}, "the axis of DequantizeLinear with one step"),
        (Sized((8, 3), "int8"), Sized((), "int32"), {}, "a step of int32"),
        (Sized((8, 3), "int8"), Sized((), "float32", np.array(np.inf, np.float32)), {}, "not above 0"),
    ],
)
def test_what_is_refused(source: Sized, steps: Sized, attributes: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dequantized(node("DequantizeLinear", "w", "s", **attributes), [source, steps])


def test_bytes_come_from_constants_or_are_taken_back_by_what_made_them() -> None:
    tensors = {
        name: Tensor(name, "float32", (), None, np.array(0.1, np.float32)) for name in ("s", "t", "z", "w")
    }
    first = node("QuantizeLinear", "x", "s", "z")
    check_quantized((first, node("DequantizeLinear", "QuantizeLinear_out", "s", "z")), tensors)
    check_quantized((node("DequantizeLinear", "w", "s"),), tensors)
    for nodes, words in (
        (
            (first, node("DequantizeLinear", "QuantizeLinear_out", "t", "z")),
            "no QuantizeLinear with its step",
        ),
        ((node("DequantizeLinear", "x", "s", "z"),), "no QuantizeLinear with its step"),
        ((node("QuantizeLinear", "x", "y", "z"),), "that is no constant"),
        ((node("QuantizeLinear", "x", "s"),), "without a zero point"),
    ):
        with pytest.raises(ValueError, match=words):
            check_quantized(nodes, tensors)
