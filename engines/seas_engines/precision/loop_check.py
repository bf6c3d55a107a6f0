"""Whole pairs in half against float32, by the graphs themselves: errors add up over the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from seas_runtime.backends.contract import Call
from seas_runtime.backends.host import HostTensor, OnProcessor
from seas_runtime.bundle.reading import Bundle
from seas_runtime.figures import iou, overlap, psnr, squared_error
from seas_runtime.generation.loop import Loop
from seas_runtime.generation.resolve import resolve
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import GraphSpec, Shape
from seas_runtime.methods.request import PairRequest, Request

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Runs a graph once."""
PAIRS = 2
PSNR_BOUND, IOU_BOUND = 30.0, 0.95
"""What half must keep of the pictures (dB) and of the masks, over the pairs that are compared."""
_SEED = 0


@dataclass(frozen=True)
class LoopFigures:
    """How far pairs in half lie from those in float32: PSNR in dB (999 where they are the same), IoU."""

    pairs: int
    psnr: float
    iou: float

    def within(self, psnr: float) -> bool:
        """Whether both are within their bounds, the one of the pictures in dB."""
        return self.psnr >= psnr and self.iou >= IOU_BOUND

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Pairs:
    """What is compared."""

    images: Array  # uint8 [B, H, W, 3]
    masks: Array  # bool [B, H, W]
    probabilities: Array | None  # float32 [B, H, W]


def make_pairs(bundle: Bundle, graphs: Mapping[str, Run], count: int = PAIRS) -> Pairs:
    """Return pairs of a bundle's first defect by its default schedule, by the runtime's own loop."""
    specs = {name: spec for name, spec in bundle.manifest.graphs.items() if name in graphs}
    bundle = replace(bundle, manifest=replace(bundle.manifest, graphs=specs))
    backend = _Measured(graphs)
    request = resolve(Request(bundle.manifest.defects[0], _SEED), bundle)
    loop = Loop(bundle, backend, Sessions(bundle, backend))
    made = loop.run([PairRequest(request, index) for index in range(count)], 0)
    return Pairs(made.images, made.masks.masks, made.masks.probabilities)


class _Measured(OnProcessor):
    """A backend of graphs that are run by functions."""

    name = "measured"
    loads_at_once = False

    def __init__(self, graphs: Mapping[str, Run]) -> None:
        self._graphs = graphs

    def identity(self, bundle: Bundle) -> dict[str, str]:
        """Return nothing: no pair of this backend is kept."""
        return {}

    def load(self, bundle: Bundle, graph: str) -> _MeasuredSession:
        """Return the function as a session with the manifest's tensors."""
        return _MeasuredSession(self._graphs[graph], bundle.manifest.graphs[graph])

    def allocate(self, shape: Shape, dtype: str) -> HostTensor:
        """Return an empty place."""
        return HostTensor(shape, dtype)

    def write(self, value: HostTensor, array: Array) -> None:
        """Hold an array."""
        value.array = array

    def read(self, values: Sequence[HostTensor]) -> list[Array]:
        """Return the arrays."""
        return [value.get() for value in values]


class _MeasuredSession:
    def __init__(self, run: Run, spec: GraphSpec) -> None:
        self._run = run
        self.inputs, self.outputs = spec.inputs, spec.outputs

    def takes(self, batch: int) -> bool:
        """Take any."""
        return True

    def bind(self, feeds: Mapping[str, HostTensor], outputs: Mapping[str, HostTensor]) -> Call:
        """Return the call."""

        def call() -> None:
            made = self._run({name: value.get() for name, value in feeds.items()})
            for name, place in outputs.items():
                place.array = made[name]

        return call


def compare(made: Pairs, expected: Pairs) -> LoopFigures:
    """Return how far pairs lie from what is expected; what is not finite is infinitely far."""
    squares = squared_error(made.images, expected.images)
    masks = overlap(made.masks, expected.masks)
    broken = made.probabilities is not None and not np.isfinite(made.probabilities).all()
    return LoopFigures(
        pairs=len(made.images),
        psnr=round(psnr(squares, made.images.size), 2),
        iou=0.0 if broken else round(iou(*masks), 4),
    )
