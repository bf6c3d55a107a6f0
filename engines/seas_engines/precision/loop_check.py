"""Whole pairs in half against float32, by the graphs themselves: errors add up over the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.backends.onnxruntime.cpu import OnnxRuntimeCpu, OnnxRuntimeSession
from seas_runtime.bundle.reading import Bundle
from seas_runtime.figures import iou, overlap, psnr, squared_error
from seas_runtime.generation.loop import Loop
from seas_runtime.generation.resolve import resolve
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import GraphSpec
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
    request = resolve(Request(bundle.manifest.defects[0], _SEED), bundle)
    return run_pairs(bundle, graphs, [PairRequest(request, index) for index in range(count)])


def run_pairs(bundle: Bundle, graphs: Mapping[str, Run], pairs: Sequence[PairRequest]) -> Pairs:
    """Return one batch of pairs, made by the runtime's own loop of graphs that functions run."""
    specs = {name: spec for name, spec in bundle.manifest.graphs.items() if name in graphs}
    bundle = replace(bundle, manifest=replace(bundle.manifest, graphs=specs))
    backend = _Measured(graphs)
    made = Loop(bundle, backend, Sessions(bundle, backend)).run(pairs, 0)
    return Pairs(made.images, made.masks.masks, made.masks.probabilities)


class _Measured(OnnxRuntimeCpu):
    """The processor's backend, with functions for what runs its graphs."""

    def __init__(self, graphs: Mapping[str, Run]) -> None:
        super().__init__(1)
        self._graphs = graphs

    def load(self, bundle: Bundle, graph: str) -> OnnxRuntimeSession:
        """Return the function as a session with the manifest's tensors."""
        return _MeasuredSession(self._graphs[graph], bundle.manifest.graphs[graph])


class _MeasuredSession(OnnxRuntimeSession):
    def __init__(self, run: Run, spec: GraphSpec) -> None:
        self._made = run
        self._session, self._file = self, Path(spec.file)
        self.inputs, self.outputs = spec.inputs, spec.outputs

    def run(self, names: Sequence[str], arrays: Mapping[str, Array]) -> list[Array]:
        """Run as ONNX Runtime's session does."""
        made = self._made(arrays)
        return [made[name] for name in names]


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
