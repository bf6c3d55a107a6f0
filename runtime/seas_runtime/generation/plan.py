"""Everything that a batch of one size and schedule needs, allocated and bound once, run again and again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from seas_runtime.backends.contract import Backend, Call, Watch
from seas_runtime.backends.cores import usable_cores
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import (
    BATCH,
    DECODE_IMAGE,
    STEP,
    STEP_UNGUIDED,
    Shape,
    TensorSpec,
    known_sizes,
)
from seas_runtime.methods.contract import Inputs, Readout
from seas_runtime.methods.request import Sampling
from seas_runtime.methods.table import find_method

SCHEDULE, STEP_INDEX, LATENTS = "schedule", "step_index", "latents"


@dataclass(frozen=True, eq=False)
class Output:
    """What a batch gave."""

    images: Array  # [B, H, W, 3]
    latents: Array  # [B, C, h, w], final
    readings: Mapping[str, list[Array]]
    """By graph that was read: an array [B, ...] a step."""
    seconds: Mapping[str, float]
    """Of the whole batch, by what was run."""


class Plan:
    """The tensors and calls of `batch` pairs on one schedule.

    Step i reads each carried tensor's state i and writes state i + 1. States alternate between two places.
    What readouts need of the last steps has places of its own, one whole where one call reads them all
    (`join`).
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend[Any],
        sessions: Sessions,
        schedule: Schedule,
        step_graph: str,
        inputs: Inputs,
        join: bool,
    ) -> None:
        self._bundle, self._backend, self._sessions = bundle, backend, sessions
        method = find_method(bundle.manifest.method)
        self._batch, self._steps = len(inputs.origins), schedule.steps
        self._step_graph, self._graph = step_graph, bundle.manifest.graphs[step_graph]
        self._carries = {name: to for name, to in method.carries.items() if self._graph.input(name)}
        self._readouts = method.readouts(bundle.manifest)
        self._kept = min(max((item.steps for item in self._readouts), default=0), self._steps)
        self._join = join and self._joins()
        self._held: dict[str, Array] = {}  # what places hold that outlasts a batch
        self._allocate(schedule, inputs)
        self._sequences = list(map(backend.sequence, self._bind()))

    def run(self, inputs: Inputs, watch: Watch) -> Output:
        """Run all steps, readouts and the decode of one batch; the host waits once, at the end."""
        backend = self._backend
        self._give(inputs)
        marks = [backend.mark()]
        for sequence in self._sequences:
            sequence(watch)
            marks.append(backend.mark())
        found = iter(backend.read([self._image, self._states[LATENTS][-1], *itertools.chain(*self._read)]))
        image, latents = next(found), next(found)
        readings = {}
        for readout, places in zip(self._readouts, self._read, strict=True):
            arrays = list(itertools.islice(found, len(places)))
            if self._join:
                arrays = list(arrays[0].reshape(readout.steps, self._batch, *arrays[0].shape[1:]))
            readings[readout.graph] = arrays
        names = (STEP, *(readout.graph for readout in self._readouts), DECODE_IMAGE)
        seconds = [backend.seconds(begin, end) for begin, end in itertools.pairwise(marks)]
        backend.settle()
        return Output(image, latents, readings, dict(zip(names, seconds, strict=True)))

    def _joins(self) -> bool:
        """Whether one call may read all kept steps of a batch as one."""
        if len(self._readouts) != 1 or not self._backend.joins:
            return False
        readout = self._bundle.manifest.graphs[self._readouts[0].graph]
        if not all(spec.name in self._carries or self._graph.output(spec.name) for spec in readout.inputs):
            return False  # what all steps share has one batch, not several
        together = self._kept * self._batch
        return (
            1 < self._kept < self._steps  # the first states come from the host, so they have their own places
            and together <= (self._backend.most_at_once(self._bundle.manifest.image.pixels) or together)
            and self._sessions[self._readouts[0].graph].takes(together)
        )

    def _allocate(self, schedule: Schedule, inputs: Inputs) -> None:
        """Make a place for every tensor, and fill those that never change."""
        graphs, backend = self._bundle.manifest.graphs, self._backend
        self._inputs: dict[str, Any] = {}  # that keep their value for a batch or longer
        self._given: dict[str, list[Any]] = {}  # that have one for each step
        for spec in self._graph.inputs:
            if spec.name == STEP_INDEX:
                steps = (np.array([step], spec.dtype) for step in range(self._steps))
                self._given[spec.name] = [self._filled(array) for array in steps]
            elif spec.name == SCHEDULE:
                self._inputs[spec.name] = self._filled(schedule.table)
            elif spec.name in self._carries:
                continue
            elif (given := inputs.steps.get(spec.name)) is not None:
                nothing = self._filled(self._zeros(spec))
                self._given[spec.name] = [
                    self._place(spec) if step in given else nothing for step in range(self._steps)
                ]
            else:
                self._inputs[spec.name] = backend.allocate(inputs.values[spec.name].shape, spec.dtype)
        kept = {spec.name for item in self._readouts for spec in graphs[item.graph].inputs}
        self._whole: dict[str, Any] = {}  # of what is kept, all steps as one; joined alone
        self._states = {name: self._state_places(name, name in kept) for name in self._carries}
        self._outputs = {
            spec.name: self._side_by_side(spec) for spec in self._graph.outputs if spec.name in kept
        }
        self._read = [self._reading_places(item) for item in self._readouts]
        self._image = self._place(_named(graphs[DECODE_IMAGE].outputs, "image"))

    def _state_places(self, name: str, kept: bool) -> list[Any]:
        """Return the places of a carried tensor's states, from before the first step to after the last."""
        spec = _named(self._graph.inputs, name)
        turns = [self._place(spec) for _ in range(2)]
        places = [turns[step % 2] for step in range(self._steps + 1)]
        places[0] = self._place(spec)
        if kept:
            places[self._steps - self._kept : self._steps] = self._side_by_side(spec)
        if name == LATENTS:
            places[-1] = self._place(spec)
        return places

    def _reading_places(self, readout: Readout) -> list[Any]:
        """Return a place for each step that is read; one of them all where joined."""
        spec = _named(self._bundle.manifest.graphs[readout.graph].outputs, readout.output)
        if self._join:
            return [self._place(spec, self._kept * self._batch)]
        return [self._place(spec) for _ in range(min(readout.steps, self._steps))]

    def _side_by_side(self, spec: TensorSpec) -> list[Any]:
        """Return a place for each kept step, all of them parts of one where joined."""
        if not self._join:
            return [self._place(spec) for _ in range(self._kept)]
        whole = self._whole[spec.name] = self._place(spec, self._kept * self._batch)
        return [self._backend.part(whole, index, self._kept) for index in range(self._kept)]

    def _bind(self) -> list[list[Call]]:
        """Bind the graphs, side by side where that may still load them."""
        readouts = [partial(self._bind_readout, *item) for item in enumerate(self._readouts)]
        binders: Sequence[Callable[[], list[Call]]] = (self._bind_steps, *readouts, self._bind_image)
        if not self._backend.loads_at_once:
            return [bind() for bind in binders]
        # The step's graph takes longest: on two cores the decodes' come one after another beside it.
        with ThreadPoolExecutor(min(len(binders), usable_cores())) as pool:
            return [bound.result() for bound in [pool.submit(bind) for bind in binders]]

    def _bind_steps(self) -> list[Call]:
        session, first = self._sessions[self._step_graph], self._steps - self._kept
        calls = []
        for step in range(self._steps):
            feeds = {
                **self._inputs,
                **{name: places[step] for name, places in self._given.items()},
                **{name: places[step] for name, places in self._states.items()},
            }
            outputs = {to: self._states[name][step + 1] for name, to in self._carries.items()}
            if step >= first:
                outputs.update({name: places[step - first] for name, places in self._outputs.items()})
            calls.append(session.bind(feeds, outputs))
        return calls

    def _bind_readout(self, place: int, readout: Readout) -> list[Call]:
        """Read each of the last steps: its states from before its update, its outputs; or all at once."""
        session, places = self._sessions[readout.graph], self._read[place]
        names = [spec.name for spec in self._bundle.manifest.graphs[readout.graph].inputs]
        if self._join:
            return [session.bind({name: self._whole[name] for name in names}, {readout.output: places[0]})]
        calls = []
        for step, reading in enumerate(places, self._steps - len(places)):
            known = {
                **self._inputs,
                **{name: given[step] for name, given in self._given.items()},
                **{name: states[step] for name, states in self._states.items()},
                **{name: kept[step - self._steps] for name, kept in self._outputs.items()},
            }
            calls.append(session.bind({name: known[name] for name in names}, {readout.output: reading}))
        return calls

    def _bind_image(self) -> list[Call]:
        session = self._sessions[DECODE_IMAGE]
        return [session.bind({LATENTS: self._states[LATENTS][-1]}, {"image": self._image})]

    def _give(self, inputs: Inputs) -> None:
        """Write what a batch is fed, but for what places hold already."""
        for name, places in self._states.items():
            array = inputs.values.get(name)
            if array is None:
                spec = _named(self._graph.inputs, name)
                self._write_held(name, places[0], self._zeros(spec))
            else:
                self._backend.write(places[0], array)
        for spec in self._graph.inputs:
            name = spec.name
            if name in self._inputs and name != SCHEDULE:
                array = np.ascontiguousarray(inputs.values[name], dtype=spec.dtype)
                self._write_held(name, self._inputs[name], array)
            for step, array in inputs.steps.get(name, {}).items() if name in self._given else ():
                self._backend.write(self._given[name][step], array)

    def _write_held(self, name: str, place: Any, array: Array) -> None:
        if name not in self._held or not np.array_equal(self._held[name], array):
            self._backend.write(place, array)
            self._held[name] = array

    def _zeros(self, spec: TensorSpec) -> Array:
        return np.zeros(known_sizes(self._sizes(spec)), spec.dtype)

    def _sizes(self, spec: TensorSpec, batch: int | None = None) -> Shape:
        return spec.sized(batch=self._batch if batch is None else batch, steps=self._steps)

    def _place(self, spec: TensorSpec, batch: int | None = None) -> Any:
        return self._backend.allocate(self._sizes(spec, batch), spec.dtype)

    def _filled(self, array: Array) -> Any:
        place = self._backend.allocate(array.shape, str(array.dtype))
        self._backend.write(place, array)
        return place


def joined(parts: Sequence[Output]) -> Output:
    """Return what several runs gave as one batch's."""
    if len(parts) == 1:
        return parts[0]
    readings = {}
    for graph in parts[0].readings:
        steps = zip(*(part.readings[graph] for part in parts), strict=True)
        readings[graph] = [np.concatenate(arrays) for arrays in steps]
    return Output(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.latents for part in parts]),
        readings,
        {name: sum(part.seconds[name] for part in parts) for name in parts[0].seconds},
    )


def part_of(inputs: Inputs, specs: Iterable[TensorSpec], first: int, end: int) -> Inputs:
    """Return the inputs of the pairs from `first` to before `end`, cut along each input's batch dimension."""
    axes = {spec.name: spec.shape.index(BATCH) for spec in specs if BATCH in spec.shape}

    def cut(name: str, array: Array) -> Array:
        if name not in axes:
            return array
        result: Array = array[(slice(None),) * axes[name] + (slice(first, end),)]
        return result

    return Inputs(
        {name: cut(name, array) for name, array in inputs.values.items()},
        {
            name: {step: cut(name, array) for step, array in arrays.items()}
            for name, arrays in inputs.steps.items()
        },
        inputs.origins[first:end],
    )


def step_graph(bundle: Bundle, sampling: Sampling) -> str:
    """Return the graph that takes a step: without the unconditional half where guidance leaves it unread."""
    return STEP_UNGUIDED if sampling.guidance == 1 and STEP_UNGUIDED in bundle.manifest.graphs else STEP


def _named(specs: Iterable[TensorSpec], name: str) -> TensorSpec:
    return next(spec for spec in specs if spec.name == name)
