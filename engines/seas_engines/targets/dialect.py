"""Which ONNX operators a target, and its version of TensorRT or TensorRT-RTX, reads.

Precision is always in the graph, and the network strongly typed. Differences between versions are here, and
nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.version import Version

from seas_engines.graphs.rewrite import Form
from seas_engines.targets.targets import Target
from seas_runtime.errors import UserError

REVISION = "1"
"""Raised when the same bundle and versions would give another engine; part of every engine's key."""
OLDEST = {Target.TENSORRT: Version("10.0"), Target.RTX: Version("1.0")}
_ATTENTION = {Target.TENSORRT: Version("10.14"), Target.RTX: Version("1.7")}
"""The first version that is given the Attention operator: TensorRT's changelog for 10.14; RTX as tried."""
_GROUP_NORM = {Target.TENSORRT: Version("10.12"), Target.RTX: Version("1.7")}
"""The first version that is given GroupNormalization: on the safe side, since opset 21 came with 10.6."""


@dataclass(frozen=True)
class Dialect:
    """The graphs that a version reads."""

    opset: int
    """ONNX operator set."""
    attention: Form
    group_norm: Form
    strongly_typed: bool
    """Whether the engine's dtypes are the graph's."""


def dialect_of(target: Target, version: str) -> Dialect:
    """Return the dialect of a version; UserError for one that is too old."""
    if target is Target.CUDA:
        return Dialect(20, Form.VENDOR, Form.VENDOR, strongly_typed=True)
    found = Version(version)
    if found < OLDEST[target]:
        raise UserError(
            f"target {target.value}: version {version} is too old: its networks take no dtypes from the "
            f"graph. Expected {OLDEST[target]} or newer; update it, or use --target cuda there"
        )
    attention = Form.WHOLE if found >= _ATTENTION[target] else Form.PIECES
    group_norm = Form.WHOLE if found >= _GROUP_NORM[target] else Form.PIECES
    opset = 23 if attention is Form.WHOLE else 21 if group_norm is Form.WHOLE else 20
    return Dialect(opset, attention, group_norm, strongly_typed=True)
