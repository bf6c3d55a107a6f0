"""What export asks of a method: what is traced, how that is composed, which tables there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from seas_engines.precision.evaluator import Case
from seas_engines.targets.targets import TargetSpec
from seas_export.extras import Extras
from seas_export.graphs.schedules import DPMPP_2M
from seas_export.graphs.trace import Part
from seas_export.graphs.weights import WeightStore
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import Manifest
from seas_runtime.methods.contract import Content, Inputs
from seas_runtime.methods.request import PlacedInputs
from seas_train import Checkpoint
from seas_train.bases.base import Geometry
from seas_train.data import Product


@dataclass(frozen=True, eq=False)
class ReferencePair:
    """A pair as PyTorch makes it."""

    image: npt.NDArray[np.uint8]  # [H, W, 3]
    mask: npt.NDArray[np.uint8]  # [H, W], 0 or 255
    probability: npt.NDArray[np.float32] | None  # [H, W], the mean of the final steps' maps, where read
    latents: npt.NDArray[np.float32]  # [C, h, w], final and scaled
    seconds: float
    """This pair's share of its batch."""


class Loop(Protocol):
    """A method's loop in PyTorch, written apart from the graphs."""

    def generate(
        self,
        defect: str,
        count: int,
        seed: int = 0,
        *,
        batch: int = 1,
        placed: Sequence[PlacedInputs] = (),
    ) -> Iterator[ReferencePair]:
        """Yield pairs 0 to `count` - 1, those that the runtime makes of that seed.

        They are drawn into `placed`, one a pair, where some are given.
        """
        ...


class MaskScoring(Protocol):
    """Measures masks of real photographs that did not train."""

    def __call__(
        self,
        checkpoint: Checkpoint,
        product: Product,
        *,
        tau: float | None,
        seed: int,
        pairs: int,
        normals: int,
    ) -> dict[str, Any]:
        """Return JSON values: by defect `pairs`, `iou`, `precision`, `recall` and `area`; `normals`.

        `pairs` (of each defect) and `normals` are how many at most, `tau` is the threshold, None for the
        checkpoint's. A defect of which no pair was held out is left out.
        """
        ...


@dataclass(frozen=True)
class Reference:
    """A method in PyTorch: what parity holds a bundle against."""

    inputs: Callable[[Checkpoint, Schedule, int, int], Mapping[str, Mapping[str, Array]]]
    """Return each graph's inputs as they occur in generation, for a seed and a number of items."""
    module: Callable[[str, Checkpoint], Callable[..., Any]]
    """Return what a graph is in PyTorch, taking its inputs by name."""
    loop: Callable[[Checkpoint, Schedule, Manifest], Loop]
    placed: Callable[[Checkpoint, int], PlacedInputs] | None = None
    """Return something to draw into, for a seed; None for a method that draws into nothing."""


@dataclass(frozen=True)
class ExportMethod:
    """How checkpoints of one method become bundles; the runtime's side is in `seas_runtime.methods`."""

    name: str
    part_names: tuple[str, ...]
    parts: Callable[[Checkpoint], Iterator[Part]]
    """Yield what is traced, one after another, in the order of their names."""
    compose: Callable[
        [Mapping[str, ir.Model], Geometry, ir.DataType, TargetSpec, WeightStore, Extras],
        dict[str, ir.Model],
    ]
    """Return the graphs that generation runs, from traced parts; the type is of embeddings and taps."""
    tables: Callable[[Checkpoint, Extras], Mapping[str, Mapping[str, Array]]]
    """Return the tables beside the schedules."""
    generation: Callable[[Checkpoint, Extras], Mapping[str, Any]]
    """Return the manifest's section of that name."""
    fewest_steps: int
    blend: bool
    """Whether schedules have the blend's columns."""
    half_tables: tuple[str, ...]
    """Tables that are float16 in an fp16 bundle."""
    half_values: frozenset[str]
    """Inputs and outputs of graphs that are in half precision then."""
    inner_values: frozenset[str]
    """Of `half_values`, those passed between parts inside a graph; they stay float32 where half overflows."""
    part_cases: Callable[[Checkpoint], Mapping[str, Sequence[Case]]]
    """Return inputs of the parts that no graph of generation has in it."""
    sampler: str = DPMPP_2M
    """The default schedule's."""
    steps: int = 25
    """Its steps where nothing is said."""
    step_counts: tuple[int, ...] = ()
    """Numbers of steps that are tabulated beside those of every bundle."""
    reference: Reference | None = None
    mask_scores: MaskScoring | None = None
    """Measures how good masks of real photographs are; None for a method that reads no masks."""
    with_prompt: Callable[[Content, Inputs, str], Inputs] | None = None
    """Return inputs with the prompt of another defect, or of `good`, in place of their own; None for a method
    whose defects are not told apart by a prompt."""
