"""The last of a composed graph: rewritten as its target wants it, its weights in the bundle's store."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from seas_engines.graphs.attention import fuse_attention
from seas_engines.graphs.upsampling import split_upsampling
from seas_engines.targets.targets import TargetSpec
from seas_export.graphs.weights import WeightStore


def finish(composed: Mapping[str, ir.Model], spec: TargetSpec, store: WeightStore) -> dict[str, ir.Model]:
    """Return graphs as a target wants them, their weights in `store`."""
    for model in composed.values():
        if spec.fused_attention:
            fuse_attention(model)
        if spec.split_upsampling:
            split_upsampling(model)
        store.move([model])
    return dict(composed)
