"""Whether a build, and then its engines, fit the memory of this machine: checked before the long build."""

from __future__ import annotations

from dataclasses import dataclass

from seas_engines.targets.targets import Precision, Target
from seas_runtime.backends.cuda.device import CudaDevice
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import DECODE_IMAGE
from seas_runtime.units import gib

_GIB = 1 << 30
BUILD_FACTOR = 3.5
"""Host memory of a build in multiples of its graph's weights: as read, as folded, and the engine's own."""
BUILD_BASE = 1 * _GIB
"""Host memory that a builder takes whatever the graph: its libraries and its kernels' code."""
ACTIVATIONS = 6
"""Tensors of the decoder's last, full-resolution block that are alive together: a convolution's input and
output, the residual, and scratch. An estimate, on the safe side."""
_BLOCK_CHANNELS = 256  # of that block's widest tensor, in Stable Diffusion 1.x
_STREAMED_SHARE = 0.25
"""Share of the weights that stays in device memory where they are streamed."""
_BYTES = {Precision.FP32: 4, Precision.FP16: 2}
"""Of an activation, and of a weight that is not int8 already."""


@dataclass(frozen=True)
class MemoryPlan:
    """How engines are built so that they fit."""

    weight_streaming: bool = False
    """Whether weights may stay in host memory and be streamed."""
    notes: tuple[str, ...] = ()
    """What the plan changes, in words."""


def weights_size(bundle: Bundle, graph: str, precision: Precision) -> int:
    """Return the bytes of a graph's weights in a precision."""
    import onnx_ir as ir

    model = ir.load(bundle.graph_path(graph))
    return sum(
        int(value.const_value.size) * min(_BYTES.get(precision, 4), value.const_value.dtype.itemsize)
        for value in model.graph.initializers.values()
        if value.const_value is not None
    )


def check_build_memory(graph: str, weights: int, available: int | None, limit: int | None) -> None:
    """Refuse a build that needs more host memory than is available, or than `limit`.

    All in bytes: `weights` in the precision that is built; `available` None where it is not known.
    """
    needed = int(BUILD_FACTOR * weights) + BUILD_BASE
    for size, what in ((available, "available"), (limit, "allowed by --memory")):
        if size is not None and needed > size:
            raise UserError(
                f"{graph}: building its engine needs about {gib(needed)} of memory, "
                f"{gib(size)} are {what}; close other programs, add swap, or build it on a larger machine: "
                "for rtx, with --device and --ship-engines"
            )


def plan_device(
    bundle: Bundle,
    target: Target,
    graphs: dict[str, int],
    precision: Precision,
    batch: int,
    device: CudaDevice | None,
) -> MemoryPlan:
    """Return how engines of `graphs` (weights in bytes, by name), all loaded together, fit a device.

    A device that is not here is not checked: its RTX engines are built as asked.

    Raises:
        UserError: they do not fit at this batch, streamed or not; it says which batch would.
    """
    if device is None:
        return MemoryPlan()
    free = device.free if device.free is not None else device.memory
    weights = sum(graphs.values())
    if weights + _activations(bundle, precision, batch) <= free:
        return MemoryPlan()
    streamed = int(weights * _STREAMED_SHARE)
    if target is Target.TENSORRT and streamed + _activations(bundle, precision, batch) <= free:
        note = (
            f"{gib(weights)} of weights and {gib(_activations(bundle, precision, batch))} of activations "
            f"do not fit the {gib(free)} that are free on {device.name}: weights will be streamed, which is "
            "slower"
        )
        return MemoryPlan(True, (note,))
    fits = next(
        (
            size
            for size in range(batch - 1, 0, -1)
            if (streamed if target is Target.TENSORRT else weights) + _activations(bundle, precision, size)
            <= free
        ),
        None,
    )
    advice = (
        f"give --batch {fits}"
        if fits is not None
        else "use a smaller base or --target cpu here, or free some memory"
    )
    raise UserError(
        f"--batch: engines for batches of {batch} need about "
        f"{gib(weights + _activations(bundle, precision, batch))} on {device.name}, {gib(free)} are free; "
        f"{advice}"
    )


def available_memory() -> int:
    """Return the bytes that programs can still take, swap included."""
    import psutil

    return int(psutil.virtual_memory().available + psutil.swap_memory().free)


def _activations(bundle: Bundle, precision: Precision, batch: int) -> int:
    """Return an estimate of the bytes of activations of the largest graph."""
    image = bundle.manifest.image
    assert DECODE_IMAGE in bundle.manifest.graphs
    return ACTIVATIONS * batch * image.height * image.width * _BLOCK_CHANNELS * _BYTES.get(precision, 4)
