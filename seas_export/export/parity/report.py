"""Parity figures: what was compared, how far apart it is, and how far apart it may be."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from seas_runtime.errors import CheckFailed


@dataclass(frozen=True)
class GraphBound:
    """How far a graph's output may lie from PyTorch's float32 one."""

    relative: float
    """Of floating-point outputs, the largest difference over the tensor's range (largest minus smallest)."""
    levels: int
    """Of uint8 outputs, the largest difference; one level, as a value may lie on either side of a rounding
    edge."""


@dataclass(frozen=True)
class PipelineBound:
    """How far whole pairs may lie from those of the PyTorch loop."""

    psnr: float
    """In dB, over all images, at least."""
    probability: float
    """Largest difference of the probability maps, at most."""
    iou: float
    """Of the masks, pooled over the pixels of all pairs, at least."""


@dataclass(frozen=True)
class Bounds:
    """What is asked of a bundle of one precision."""

    graph: GraphBound
    pipeline: PipelineBound


BOUNDS = {
    "fp32": Bounds(GraphBound(1e-4, 1), PipelineBound(50.0, 0.01, 0.99)),
    # Half precision keeps 11 bits, 5e-4 a rounding. Measured on micro: 1.1e-3, 70 dB, 0.022 and 0.9996.
    "fp16": Bounds(GraphBound(1e-2, 4), PipelineBound(40.0, 0.1, 0.95)),
    # Eight bits stray in single values as no half does, and pairs go other ways in small things: whole pairs
    # decide. Of a graph it is enough that nothing breaks, of a probability that it is one.
    "int8": Bounds(GraphBound(0.5, 128), PipelineBound(28.0, 1.0, 0.95)),
}


@dataclass(frozen=True)
class GraphRow:
    """One output of one graph."""

    graph: str
    """Its name."""
    output: str
    """The tensor's name."""
    max_abs: float
    """The largest difference."""
    relative: float
    """The largest difference over the range of PyTorch's tensor."""
    bound: float
    """What `relative` may be at most."""
    passed: bool
    """Whether it is; a value that is not finite never passes."""


@dataclass(frozen=True)
class PipelineRow:
    """A figure of whole pairs; its bound is a least value for PSNR and IoU, a largest for the other."""

    figure: str
    value: float
    bound: float
    passed: bool


@dataclass(frozen=True)
class ParityReport:
    """What was measured on one bundle."""

    precision: str
    """Of the bundle."""
    graphs: tuple[GraphRow, ...]
    """A row for each output of each graph."""
    pipeline: tuple[PipelineRow, ...]
    """PSNR, probability and IoU over `pairs` whole pairs."""
    pairs: int
    """How many pairs the pipeline's figures are of."""
    steps: int = 0
    """Of those pairs."""
    placed: int = 0
    """How many of them were drawn into a background."""

    @property
    def rows(self) -> tuple[GraphRow | PipelineRow, ...]:
        """All rows."""
        return (*self.graphs, *self.pipeline)

    @property
    def passed(self) -> bool:
        """Whether every figure is within its bound."""
        return all(row.passed for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, as the manifest holds it."""
        return {
            "passed": self.passed,
            "precision": self.precision,
            "pairs": self.pairs,
            "placed": self.placed,
            "steps": self.steps,
            "graphs": [_finite(asdict(row)) for row in self.graphs],
            "pipeline": [_finite(asdict(row)) for row in self.pipeline],
        }

    def to_text(self) -> str:
        """Return the report as a table for a terminal."""
        lines = [f"{'graph':<13} {'output':<17} {'max |d|':>9} {'relative':>9} {'bound':>9}"]
        lines += [
            f"{row.graph:<13} {row.output:<17} {row.max_abs:9.2e} {row.relative:9.2e} {row.bound:9.2e}"
            f"{'' if row.passed else '  FAILED'}"
            for row in self.graphs
        ]
        if self.pipeline:
            placed = f", {self.placed} in a background" if self.placed else ""
            lines.append(f"whole pairs ({self.pairs}{placed}, {self.steps} steps)")
        lines += [
            f"  {row.figure:<27} {row.value:9.4g}   bound {row.bound:g}{'' if row.passed else '  FAILED'}"
            for row in self.pipeline
        ]
        return "\n".join(lines)

    def require(self) -> None:
        """Raise CheckFailed naming every figure that is out of its bound, with its tensor and bound."""
        failed = [
            f"{row.graph}.{row.output}: {row.relative:.3g} of the tensor's range, allowed: {row.bound:g}"
            for row in self.graphs
            if not row.passed
        ]
        failed += [
            f"{row.figure} over {self.pairs} pairs: {row.value:.4g}, the bound is {row.bound:g}"
            for row in self.pipeline
            if not row.passed
        ]
        if failed:
            raise CheckFailed(
                "the exported graphs do not agree with PyTorch:\n  " + "\n  ".join(failed) + "\n"
                "No bundle was written. With --precision fp16 or int8, try fp32; otherwise report this with "
                "the versions that `seas-export doctor` prints."
            )


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has neither infinity nor NaN: they become 1e30, with `passed` as measured."""
    return {key: _clip(value) if isinstance(value, float) else value for key, value in values.items()}


def _clip(value: float) -> float:
    if math.isnan(value):
        return 1e30
    return float(f"{max(-1e30, min(1e30, value)):.6g}")
