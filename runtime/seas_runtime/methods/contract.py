"""What a method is to the runtime: data, and a few functions. Nothing else asks which method a bundle has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import Fields
from seas_runtime.manifest.schedule import Array, FloatArray, Schedule
from seas_runtime.manifest.signatures import Signature
from seas_runtime.manifest.types import STEP, STEP_UNGUIDED, Manifest, SamplerDefaults
from seas_runtime.methods import gates
from seas_runtime.methods.request import PairRequest, Request, Sampling
from seas_runtime.placement.options import SHAPES

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
class Beforehand:
    """A graph that is run once a batch before the steps; its inputs are among `Inputs.values`."""

    graph: str
    output: str
    into: str
    """The input of the step graph that its output is."""


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
    """By input of the step graph, or of one that is run beforehand, that lasts all steps; carried ones may be
    left out and start as zeros. Other names are for `masks`."""
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
    beforehand: tuple[Beforehand, ...] = ()
    """The graphs that are run once before the steps; what they give goes over what `values` has of it."""


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks of B pairs, and what they were cut from, None where they were given."""

    masks: npt.NDArray[np.bool_]  # [B, H, W]
    probabilities: FloatArray | None  # [B, H, W], 0 to 1


@dataclass(frozen=True)
class NoOptions:
    """The options of a method that has none of its own."""


@dataclass(frozen=True)
class MaskModel:
    """How a method generates masks, with its step's graph and contexts of their own."""

    sampling: Sampling
    defects: Callable[[Content], Sequence[str]]
    """Return the defects that the bundle can make masks of."""
    inputs: Callable[[Content, Sequence[PairRequest], int], Inputs]
    """Return what an attempt at masks is fed, as `Method.inputs` of whole pictures."""
    cut: Callable[[Array], tuple[npt.NDArray[np.bool_], str | None]]
    """Return a picture's [H, W, 3] mask [H, W], and why it is rejected, None where it is not."""
    scale: Callable[[Content], float]
    """Return pixels of the product's photographs to one of a mask's."""


def step_graph(manifest: Manifest, sampling: Sampling, options: Any) -> str:
    """Return the step without the unconditional half where guidance leaves that unread."""
    return STEP_UNGUIDED if sampling.guidance == 1 and STEP_UNGUIDED in manifest.graphs else STEP


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
    readouts: Callable[[Manifest, Any], tuple[Readout, ...]]
    """Return the graphs that are read beside the last steps of a request with these options, None for the
    bundle's own; none where masks are given."""
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
    step_graph: Callable[[Manifest, Sampling, Any], str] = field(default=step_graph)
    """Return the graph that takes a step, by how pairs are sampled and by the method's options."""
    mask_model: MaskModel | None = None
    """How masks are generated; None for a method that has none."""
    photographs_alone: bool = False
    """Whether pairs are drawn into photographs alone: whole pictures say nothing of the product."""
    draws_normals: bool = True
    """Whether normals are drawn anew; of a method that learned none they are photographs as they were."""
    placement_source: str = SHAPES
    """What placements are made of where nothing is said, see `PlacementOptions.source`."""

    def make_options(self, given: Mapping[str, Any]) -> Any:
        """Return the method's options of these values, None where there is none.

        Raises UserError for an option that the method has not, or a value out of range.
        """
        known = [item.name for item in fields(self.options)]
        for name in given:
            if name not in known:
                raise UserError(
                    f"{name}: method {self.name} has no such option; expected one of "
                    f"{', '.join(known) or 'none'}"
                )
        return self.options(**given) if given else None

    def default_step(self, manifest: Manifest) -> str:
        """Return the graph that takes a step of pairs that are asked for without options."""
        return self.step_graph(manifest, Sampling(guidance=manifest.sampler.guidance), None)

    def graphs_of(self, manifest: Manifest) -> tuple[str, ...]:
        """Return all that generation may run of a bundle."""
        return (*self.graphs, *(name for name in self.optional_graphs if name in manifest.graphs))
