"""Writes a bundle's graphs in the operators that ONNX Runtime's CUDA provider is fastest with.

Channels last, several operators as one, small products as one large one. The result runs on that provider
alone; the bundle's own graphs stay for all others.
"""

from __future__ import annotations

import onnx_ir as ir

from seas_engines.graphs.cuda.batch_norms import fold_batch_norms
from seas_engines.graphs.cuda.biases import move_biases
from seas_engines.graphs.cuda.fusion import fuse
from seas_engines.graphs.cuda.layout import to_channels_last
from seas_engines.graphs.cuda.products import merge_products
from seas_engines.graphs.cuda.upsampling import split_upsampling


def write_for_cuda(model: ir.Model) -> None:
    """Write a model for ONNX Runtime's CUDA provider, in place.

    Attention and group norms are in its forms (`Form.VENDOR`), and the types of all values known.
    """
    fold_batch_norms(model.graph)
    to_channels_last(model)
    fuse(model)
    move_biases(model)
    split_upsampling(model)
    merge_products(model)
