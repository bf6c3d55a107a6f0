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

    @property
    def contexts(self) -> Mapping[str, Array]:
        """What its text encoder made of a request's prompts, [L, D] each."""
        ...

    def schedule(self, sampler: str | None = None, steps: int | None = None) -> Schedule:
        """Return a schedule, the bundle's own by default."""
        ...


@dataclass(frozen=True)
class Readout:
    """A graph that is read beside the last `steps` steps.

    Its inputs are, by name, the step's inputs, carried ones from before its update, and its outputs; by
    another name where `sources` has one.
    """

    graph: str
    output: str
    """[B, ...]: what the method is handed, one a step."""
    steps: int
    sources: Mapping[str, str] = field(default_factory=dict)
    """By its input: the output or input of the step that it is fed."""

    def source(self, name: str) -> str:
        """Return what of the step feeds its input."""
        return self.sources.get(name, name)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one attempt at a batch of B pairs is fed, made on the host."""

    values: Mapping[str, Array]
    """By input of the step graph that lasts all steps; carried ones may be left out and start as zeros. Other
    names are for `masks`."""
    steps: Mapping[str, Mapping[int, Array]]
    """By input that is fed each step: an array for each step that is given one, always the same steps for one
    schedule; zeros for the others."""
    origins: tuple[Mapping[str, Any], ...]
    """What a pair's record says of its start, as JSON values."""
    images: Mapping[str, Array] = field(default_factory=dict)
    """By input of the step graph that is fed encoded latents: the pictures, uint8 [B, S, S, 3]."""
    first_images: Mapping[str, Array] = field(default_factory=dict)
    """The same for the first step alone, of inputs that `images` has too."""
    schedule: Schedule | None = None
    """What is run in place of the request's schedule; None for that."""
    observed: tuple[str, ...] = ()
    """Outputs of the last step that are handed back."""


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
    """What generation runs, `step` first: the bundle must have them. `decode_image` is one."""
    tables: tuple[str, ...]
    """The tables beside the schedules."""
    carries: Mapping[str, str]
    """An input of the step graph -> the output that becomes it in the next step; `latents` is among them."""
    signatures: Callable[[Manifest], Mapping[str, tuple[Signature, Signature]]]
    """Return the inputs and outputs that graphs must have, of those too that a bundle may lack."""
    check_generation: Callable[[Fields, SamplerDefaults], None]
    """Refuse, by a UserError, a manifest's `generation` section that the method cannot use."""
    check_tables: Callable[[Manifest, Tables, Mapping[str, str]], None]
    """Refuse, by a UserError that names its file, a table that the method cannot use."""
    readouts: Callable[[Manifest], tuple[Readout, ...]]
    """Return the graphs that are read beside the last steps; none where masks are given."""
    inputs: Callable[[Content, Sequence[PairRequest], int], Inputs]
    """Return what an attempt, counted from 0, at pairs is fed. They share sampling and options; a defect may
    be `good`, a normal, whose mask must come out empty."""
    masks: Callable[[Content, Mapping[str, Sequence[Array]], Inputs, Sequence[Request]], Masks]
    """Return masks [B, H, W] from what was read, by graph an array [B, ...] a step, and from what was fed."""
    clean: Callable[[Content, int], FloatArray]
    """Return latents [1, C, h, w] of a real image as the U-Net sees them: what graphs are measured on."""
    describe: Callable[[Content], Mapping[str, tuple[Any, str]]]
    """Return what a person asks of its own: by name a JSON value, and what that is in words."""
    options: type = NoOptions
    """The dataclass of its part of a request."""
    optional_tables: tuple[str, ...] = ()
    """Tables that a bundle may have besides."""
    optional_graphs: tuple[str, ...] = ()
    """Graphs that generation runs for some requests, where a bundle has them."""
    prompts: Callable[[Any], Sequence[str]] = field(default=lambda options: ())
    """Return the prompts of its options, which the bundle's text encoder has to encode."""
    free_names: Callable[[Any], bool] = field(default=lambda options: False)
    """Return whether pairs of these options may be called otherwise than a defect."""
    check_options: Callable[[Content, Request], None] = field(default=lambda content, request: None)
    """Refuse, by a UserError, options that the bundle cannot do."""
    rejection: Callable[..., str | None] = field(default=gates.rejection)
    """Why a pair is rejected: see `gates.rejection`."""

    def graphs_of(self, manifest: Manifest) -> tuple[str, ...]:
        """Return all that generation may run of a bundle."""
        return (*self.graphs, *(name for name in self.optional_graphs if name in manifest.graphs))
