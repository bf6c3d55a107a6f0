"""From a part to an ONNX graph: traced by torch.onnx, then simplified."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor, nn

from seas_engines.graphs.simplify import simplify
from seas_runtime.errors import CheckFailed
from seas_runtime.manifest.types import BATCH

TEXT_ENCODER, UNET = "text_encoder", "unet"
VAE_ENCODER, VAE_DECODER = "vae_encoder", "vae_decoder"
"""The parts of Stable Diffusion, by the names of their graphs."""


@dataclass(frozen=True, eq=False)
class Part:
    """A module to trace as the graph `name`."""

    name: str
    module: nn.Module
    """Takes `inputs` in their order, returns `outputs` in theirs."""
    inputs: dict[str, Tensor]
    """An example of each."""
    outputs: tuple[str, ...]
    batched: tuple[str, ...]
    """Inputs whose first dimension is the batch, which is dynamic."""


def trace(part: Part, opset: int) -> ir.Model:
    """Return the part's graph with a dynamic batch; its weights still lie in the module's own memory."""
    dynamic = {0: torch.export.Dim.DYNAMIC}
    shapes = tuple(dynamic if name in part.batched else None for name in part.inputs)
    with _quiet(), torch.no_grad():
        program = torch.export.export(
            part.module, tuple(part.inputs.values()), dynamic_shapes=shapes, strict=False
        )
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            optimize=False,
            verbose=False,
        )
    assert exported is not None  # it returns nothing only when told to write a file
    model: ir.Model = exported.model
    simplify(model)
    for value in (*model.graph.inputs, *model.graph.outputs):
        _name_batch(value)
    model.graph.name = part.name
    return model


def trace_or_fail(part: Part, opset: int) -> ir.Model:
    """Return a part's graph, or raise CheckFailed that says what PyTorch stumbled over."""
    try:
        return trace(part, opset)
    except Exception as error:  # torch.export and torch.onnx raise their own and anything else
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise CheckFailed(
            f"{part.name}: PyTorch {torch.__version__} cannot trace it: {reason}; nothing was written. "
            "Report this with the versions that `seas-export doctor` prints"
        ) from error


def _name_batch(value: ir.Value) -> None:
    """Call the dynamic dimension `batch`, whatever the tracer named it."""
    if value.shape is None:
        return
    for axis, size in enumerate(value.shape):
        if not isinstance(size, int):
            value.shape[axis] = BATCH


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tracer's remarks from the user; its errors are exceptions."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
