"""What a method is to the runtime: data, and a few functions. Nothing else asks which method a bundle has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from seas_runtime.manifest.fields import Fields
from seas_runtime.manifest.schedule import Array, FloatArray, Schedule
from seas_runtime.manifest.signatures import Signature
from seas_runtime.manifest.types import Manifest, SamplerDefaults
from seas_runtime.methods import gates
from seas_runtime.methods.request import PairRequest, Request

Tables = Mapping[str, Mapping[str, Array]]
"""A bundle's tensors by table and name."""


class Content(Protocol):
    """What a method reads of a bundle."""

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        ...

    @property
    def tables(self) -> Tables:
        """Its tensors, checked by the method."""
        ...

    def schedule(self, sampler: str | None = None, steps: int | None = None) -> Schedule:
        """Return a schedule, the bundle's own by default."""
        ...


@dataclass(frozen=True)
class Readout:
    """A graph that is read beside the last `steps` steps.

    Its inputs are, by name, what the step was given (from before its update) and what the step gave.
    """

    graph: str
    output: str
    """[B, ...]: what the method is handed, one a step."""
    steps: int


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one attempt at a batch of B pairs is fed, made on the host."""

    values: Mapping[str, Array]
    """By input of the step graph that lasts all steps; carried ones may be left out and start as zeros."""
    steps: Mapping[str, Mapping[int, Array]]
    """By input that lasts one step: an array for each step that is given one, the same steps in each batch of
    a schedule; zeros for the others."""
    origins: tuple[Mapping[str, Any], ...]
    """What a pair's record says of its start, as JSON values."""


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks of B pairs, and what they were cut from, None where they were given."""

    masks: npt.NDArray[np.bool_]  # [B, H, W]
    probabilities: FloatArray | None  # [B, H, W], 0 to 1


@dataclass(frozen=True)
class NoOptions:
    """The options of a method that has none of its own."""


@dataclass(frozen=True)
class Method:
    """A way to generate pairs from a bundle. Every step graph also takes `schedule` and `step_index`."""

    name: str
    graphs: tuple[str, ...]
    """What generation runs: the bundle must have them."""
    tables: tuple[str, ...]
    """The tables beside the schedules."""
    carries: Mapping[str, str]
    """From step to step: an input of the step graph -> the output that follows it. `latents` is one."""
    signatures: Callable[[Manifest], Mapping[str, tuple[Signature, Signature]]]
    """Return the inputs and outputs that graphs must have, of those too that a bundle may lack."""
    check_generation: Callable[[Fields, SamplerDefaults], None]
    """Refuse, by a UserError, a manifest's `generation` section that the method cannot use."""
    check_tables: Callable[[Manifest, Tables, Mapping[str, str]], None]
    """Refuse, by a UserError that names its file, a table that the method cannot use."""
    readouts: Callable[[Manifest], tuple[Readout, ...]]
    inputs: Callable[[Content, Sequence[PairRequest], int], Inputs]
    """Return what an attempt (a number from 0) at pairs of one sampling and the same options is fed."""
    masks: Callable[[Mapping[str, Sequence[Array]], Inputs, Sequence[Request]], Masks]
    """Return masks from what was read, by graph: an array [B, ...] a step."""
    clean: Callable[[Content, int], FloatArray]
    """Return latents [1, C, h, w] of a real image as the U-Net sees them: what graphs are measured on."""
    describe: Callable[[Content], Mapping[str, tuple[Any, str]]]
    """Return what pairs start from and where masks come from: by name a JSON value and a sentence."""
    options: type = NoOptions
    """The dataclass of its part of a request."""
    rejection: Callable[..., str | None] = field(default=gates.rejection)
    """Why a pair is rejected: see `gates.rejection`."""
