"""The operators and attributes that graphs of ours have; no others run.

The list is what export and the engines' forms write, which the tests of both load through the check, with
the rest of each family: arithmetic on elements and sums. Control flow, functions, random numbers,
sequences, strings and other domains are not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from seas_runtime.bundle.graphs import layouts, quantized, rules
from seas_runtime.bundle.graphs.rules import Rule, elementwise

ONNX, MICROSOFT = "", "com.microsoft"
"""Domains: ONNX's own, and ONNX Runtime's."""


@dataclass(frozen=True)
class Operator:
    """How an operator's sizes are told, and the attributes that it may have."""

    rule: Rule
    attributes: frozenset[str]


def _operator(rule: Rule, attributes: str = "") -> Operator:
    return Operator(rule, frozenset(attributes.split()))


def _each(names: str, rule: Rule, attributes: str = "") -> dict[tuple[str, str], Operator]:
    return {(ONNX, name): _operator(rule, attributes) for name in names.split()}


_COMPUTED: dict[str, Callable[..., Any]] = {
    **{"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": rules.divided, "Neg": np.negative},
    **{"Abs": np.abs, "Min": np.minimum, "Max": np.maximum, "Where": np.where},
}
_COMPARED: dict[str, Callable[..., Any]] = {
    **{"Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater},
    **{"GreaterOrEqual": np.greater_equal, "And": np.logical_and, "Or": np.logical_or},
    **{"Not": np.logical_not, "IsNaN": np.isnan},
}
_WINDOWS = "auto_pad dilations group kernel_shape pads strides"
_ATTENTION = "is_causal kv_num_heads q_num_heads qk_matmul_output_mode scale softcap softmax_precision"
_RESIZE = (
    "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value "
    "keep_aspect_ratio_policy mode nearest_mode"
)
_GROUP_NORM = "activation channels_last epsilon groups"
OPERATORS: dict[tuple[str, str], Operator] = {
    **{(ONNX, name): _operator(elementwise(compute)) for name, compute in _COMPUTED.items()},
    **{(ONNX, name): _operator(elementwise(compute, "bool")) for name, compute in _COMPARED.items()},
    **_each(
        "Clip Ceil Cos Erf Exp Floor Log Mean Pow Reciprocal Relu Round Sigmoid Sign Sin Sqrt Sum Tanh",
        elementwise(),
    ),
    **_each("Gelu", elementwise(), "approximate"),
    **_each("LeakyRelu Elu", elementwise(), "alpha"),
    **_each("Softmax LogSoftmax", rules.same, "axis"),
    **_each("BatchNormalization", rules.same, "epsilon momentum training_mode"),
    **_each("GroupNormalization", rules.same, "epsilon num_groups stash_type"),
    **_each("InstanceNormalization", rules.same, "epsilon"),
    **_each("LayerNormalization RMSNormalization", rules.same, "axis epsilon stash_type"),
    **_each("Identity", rules.identity),
    **_each("Cast", rules.cast, "round_mode saturate to"),
    **_each("QuantizeLinear", quantized.quantized, "axis"),
    **_each("DequantizeLinear", quantized.dequantized, "axis"),
    **_each("Constant", rules.constant, "value value_float value_floats value_int value_ints"),
    **_each("Shape", rules.shape_of, "end start"),
    **_each("Size", rules.size_of),
    **_each("Range", rules.ranged),
    **_each("MatMul", rules.matmul),
    **_each("Gemm", rules.gemm, "alpha beta transA transB"),
    **_each("Attention", rules.attention, _ATTENTION),
    **_each(
        "ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare",
        rules.reduced,
        "axes keepdims noop_with_empty_axes",
    ),
    **_each("ArgMax", rules.reduced, "axis keepdims select_last_index"),
    **_each("Reshape", layouts.reshaped, "allowzero"),
    **_each("Squeeze", layouts.squeezed, "axes"),
    **_each("Unsqueeze", layouts.unsqueezed, "axes"),
    **_each("Transpose", layouts.transposed, "perm"),
    **_each("Flatten", layouts.flattened, "axis"),
    **_each("Expand", layouts.expanded),
    **_each("Concat", layouts.joined, "axis"),
    **_each("Split", layouts.split, "axis num_outputs split"),
    **_each("Slice", layouts.sliced),
    **_each("Gather", layouts.gathered, "axis"),
    **_each("GatherND", layouts.gathered_nd, "batch_dims"),
    **_each("Pad", layouts.padded, "mode"),
    **_each("Resize", layouts.resized, _RESIZE),
    **_each("DepthToSpace", layouts.deeper, "blocksize mode"),
    **_each("Conv", layouts.convolved(), _WINDOWS),
    **_each("ConvTranspose", layouts.unpooled, f"{_WINDOWS} output_padding"),
    **_each("AveragePool", layouts.pooled, f"{_WINDOWS} ceil_mode count_include_pad"),
    **_each("MaxPool", layouts.pooled, f"{_WINDOWS} ceil_mode storage_order"),
    (MICROSOFT, "BiasAdd"): _operator(elementwise()),
    (MICROSOFT, "BiasSplitGelu"): _operator(rules.pointwise_half),
    (MICROSOFT, "GroupNorm"): _operator(rules.same, _GROUP_NORM),
    (MICROSOFT, "SkipGroupNorm"): _operator(rules.same, _GROUP_NORM),
    (MICROSOFT, "SkipLayerNormalization"): _operator(rules.same, "epsilon"),
    (MICROSOFT, "MultiHeadAttention"): _operator(rules.attention, "num_heads scale"),
    (MICROSOFT, "NhwcConv"): _operator(layouts.convolved(last=True), _WINDOWS),
}
