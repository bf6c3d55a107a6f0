"""How a target wants its graphs, and a version of TensorRT or TensorRT-RTX its builder set up.

One way serves TensorRT from 10.12 on, 11 and RTX: precision is in the graph, and the network strongly typed.
What older versions need besides is here, and nowhere else.
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
"""From which version on the Attention operator is given: TensorRT's changelog for 10.14; RTX as tried."""
_GROUP_NORM = {Target.TENSORRT: Version("10.12"), Target.RTX: Version("1.7")}
"""From which version on GroupNormalization is given: on the safe side, since opset 21 came with 10.6."""


@dataclass(frozen=True)
class Dialect:
    """What a version reads.

    Attributes:
        opset: ONNX operator set of the graph that it is given.
        attention, group_norm: how those are written in it.
        strongly_typed: whether the dtypes of the graph are the engine's, and must be asked for: false where
        there is no other way any more.
    """

    opset: int
    attention: Form
    group_norm: Form
    strongly_typed: bool


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
