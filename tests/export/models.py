"""ONNX models as tests look at them: what they compute, and of which operators."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import onnxruntime


def outputs(model: ir.Model, **feeds: np.ndarray) -> list[np.ndarray]:
    """Return every output."""
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


def run(model: ir.Model, **feeds: np.ndarray) -> np.ndarray:
    """Return the first output."""
    return np.asarray(outputs(model, **feeds)[0])


def operators(model: ir.Model) -> Counter[str]:
    """Return how many nodes there are of each operator."""
    return Counter(node.op_type for node in model.graph)
