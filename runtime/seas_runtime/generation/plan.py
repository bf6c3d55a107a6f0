"""Everything that a batch of one size and schedule needs, allocated and bound once, run again and again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from seas_runtime.backends.contract import Backend, Call, Watch
from seas_runtime.backends.cores import usable_cores
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.batch import Output, named
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import (
    DECODE_IMAGE,
    ENCODE_IMAGE,
    STEP,
    TensorSpec,
    known_sizes,
)
from seas_runtime.methods.contract import Beforehand, Inputs, Readout
from seas_runtime.methods.table import find_method

SCHEDULE, STEP_INDEX, LATENTS = "schedule", "step_index", "latents"


class Plan:
    """The tensors and calls of `batch` pairs on one schedule.

    Pictures are encoded first, each into the input that it is for, of all steps or of the first alone. Step i
    reads each carried tensor's state i and writes state i + 1. States alternate between two places.
    What readouts need of the last steps has places of its own, or one where one call reads them all (`join`).
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend[Any],
        sessions: Sessions,
        schedule: Schedule,
        step_graph: str,
        readouts: tuple[Readout, ...],
        inputs: Inputs,
        join: bool,
    ) -> None:
        self._bundle, self._backend, self._sessions = bundle, backend, sessions
        self._batch, self._steps = len(inputs.origins), schedule.steps
        self._step_graph, self._graph = step_graph, bundle.manifest.graphs[step_graph]
        carries = find_method(bundle.manifest.method).carries
        self._carries = {name: to for name, to in carries.items() if self._graph.input(name)}
        self._readouts, self._beforehand, self._observed = readouts, inputs.beforehand, inputs.observed
        self._kept = min(max((item.steps for item in readouts), default=0), self._steps)
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
        observed = [self._whole.get(name, self._outputs[name][-1]) for name in self._observed]
        given_back = [self._image, self._states[LATENTS][-1], *self._rebuilt.values(), *observed]
        given_back += itertools.chain(*self._read)
        found = iter(backend.read(given_back))
        image, latents = next(found), next(found)
        rebuilt = {name: next(found) for name in self._rebuilt}
        last = {name: next(found)[-self._batch :] for name in self._observed}  # of all steps where joined
        readings = {}
        for readout, places in zip(self._readouts, self._read, strict=True):
            arrays = list(itertools.islice(found, len(places)))
            if self._join:
                arrays = list(arrays[0].reshape(readout.steps, self._batch, *arrays[0].shape[1:]))
            readings[readout.graph] = arrays
        names = [ENCODE_IMAGE] if self._pictures else []
        names += [item.graph for item in self._beforehand]
        names += [STEP, *(readout.graph for readout in self._readouts), DECODE_IMAGE]
        seconds = [backend.seconds(begin, end) for begin, end in itertools.pairwise(marks)]
        backend.settle()
        return Output(image, latents, readings, last, dict(zip(names, seconds, strict=True)), rebuilt)

    def _joins(self) -> bool:
        """Whether one call may read all kept steps of a batch as one."""
        if len(self._readouts) != 1 or not self._backend.joins:
            return False
        item = self._readouts[0]
        sources = [item.source(spec.name) for spec in self._bundle.manifest.graphs[item.graph].inputs]
        if not all(name in self._carries or self._graph.output(name) for name in sources):
            return False  # what all steps share has one batch, not several
        together = self._kept * self._batch
        return (
            1 < self._kept < self._steps  # the first states come from the host, so they have their own places
            and together <= (self._backend.most_at_once(self._bundle.manifest.image.pixels) or together)
            and self._sessions[item.graph].takes(together)
        )

    def _allocate(self, schedule: Schedule, inputs: Inputs) -> None:
        """Make a place for every tensor, and fill those that never change."""
        graphs, backend = self._bundle.manifest.graphs, self._backend
        self._inputs: dict[str, Any] = {}  # that keep their value for a batch or longer
        self._given: dict[str, list[Any]] = {}  # that have one for each step
        self._pictures = {
            name: backend.allocate(array.shape, str(array.dtype)) for name, array in inputs.images.items()
        }
        self._first = {  # picture, and what it is encoded into
            name: (
                backend.allocate(array.shape, str(array.dtype)),
                self._place(named(self._graph.inputs, name)),
            )
            for name, array in inputs.first_images.items()
        }
        made = {item.into for item in self._beforehand}
        self._before = {
            spec.name: backend.allocate(inputs.values[spec.name].shape, spec.dtype)
            for item in self._beforehand
            for spec in graphs[item.graph].inputs
        }
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
            elif spec.name in self._pictures or spec.name in made:
                self._inputs[spec.name] = self._place(spec)
            else:
                self._inputs[spec.name] = backend.allocate(inputs.values[spec.name].shape, spec.dtype)
        kept = {item.source(spec.name) for item in self._readouts for spec in graphs[item.graph].inputs}
        self._whole: dict[str, Any] = {}  # of what is kept, all steps as one; joined alone
        self._states = {name: self._state_places(name, name in kept) for name in self._carries}
        self._outputs = {
            spec.name: self._side_by_side(spec) for spec in self._graph.outputs if spec.name in kept
        }
        for name, to in self._carries.items():  # one place for what is kept and carried
            if to in self._outputs:
                self._states[name][self._steps - self._kept + 1 :] = self._outputs[to]
        for name in self._observed:
            if name not in self._outputs:
                self._outputs[name] = [self._place(named(self._graph.outputs, name))]
        self._read = [self._reading_places(item) for item in self._readouts]
        image = named(graphs[DECODE_IMAGE].outputs, "image")
        self._image = self._place(image)
        self._rebuilt = {name: self._place(image) for name in self._pictures}

    def _state_places(self, name: str, kept: bool) -> list[Any]:
        """Return the places of a carried tensor's states, from before the first step to after the last."""
        spec = named(self._graph.inputs, name)
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
        spec = named(self._bundle.manifest.graphs[readout.graph].outputs, readout.output)
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
        binders: list[Callable[[], list[Call]]] = [self._bind_steps, *readouts, self._bind_image]
        binders[:0] = [partial(self._bind_before, item) for item in self._beforehand]
        binders[:0] = [self._bind_encoding] if self._pictures else []
        if not self._backend.loads_at_once:
            return [bind() for bind in binders]
        # The step's graph takes longest: on two cores the decodes' come one after another beside it.
        with ThreadPoolExecutor(min(len(binders), usable_cores())) as pool:
            return [bound.result() for bound in [pool.submit(bind) for bind in binders]]

    def _bind_encoding(self) -> list[Call]:
        session = self._sessions[ENCODE_IMAGE]
        return [
            session.bind({"image": picture}, {LATENTS: self._inputs[name]})
            for name, picture in self._pictures.items()
        ] + [session.bind({"image": picture}, {LATENTS: place}) for picture, place in self._first.values()]

    def _bind_before(self, item: Beforehand) -> list[Call]:
        names = [spec.name for spec in self._bundle.manifest.graphs[item.graph].inputs]
        feeds = {name: self._before[name] for name in names}
        return [self._sessions[item.graph].bind(feeds, {item.output: self._inputs[item.into]})]

    def _bind_steps(self) -> list[Call]:
        session = self._sessions[self._step_graph]
        calls = []
        for step in range(self._steps):
            feeds = {
                **self._inputs,
                **{name: places[step] for name, places in self._given.items()},
                **{name: places[step] for name, places in self._states.items()},
                **({} if step else {name: place for name, (_, place) in self._first.items()}),
            }
            outputs = {to: self._states[name][step + 1] for name, to in self._carries.items()}
            for name, places in self._outputs.items():  # of the last steps
                if self._steps - step <= len(places):
                    outputs[name] = places[step - self._steps]
            calls.append(session.bind(feeds, outputs))
        return calls

    def _bind_readout(self, place: int, readout: Readout) -> list[Call]:
        """Read each of the last steps: its states from before its update, its outputs; or all at once."""
        session, places = self._sessions[readout.graph], self._read[place]
        names = [spec.name for spec in self._bundle.manifest.graphs[readout.graph].inputs]
        if self._join:
            feeds = {name: self._whole[readout.source(name)] for name in names}
            return [session.bind(feeds, {readout.output: places[0]})]
        calls = []
        for step, reading in enumerate(places, self._steps - len(places)):
            known = {
                **self._inputs,
                **{name: given[step] for name, given in self._given.items()},
                **{name: states[step] for name, states in self._states.items()},
                **{
                    name: kept[step - self._steps]
                    for name, kept in self._outputs.items()
                    if self._steps - step <= len(kept)
                },
            }
            feeds = {name: known[readout.source(name)] for name in names}
            calls.append(session.bind(feeds, {readout.output: reading}))
        return calls

    def _bind_image(self) -> list[Call]:
        session = self._sessions[DECODE_IMAGE]
        calls = [session.bind({LATENTS: self._states[LATENTS][-1]}, {"image": self._image})]
        for name, place in self._rebuilt.items():
            latents = self._first[name][1] if name in self._first else self._inputs[name]
            calls.append(session.bind({LATENTS: latents}, {"image": place}))
        return calls

    def _give(self, inputs: Inputs) -> None:
        """Write what a batch is fed, but for what places hold already."""
        for name, places in self._states.items():
            array = inputs.values.get(name)
            if array is None:
                spec = named(self._graph.inputs, name)
                self._write_held(name, places[0], self._zeros(spec))
            else:
                self._backend.write(places[0], array)
        for name, picture in self._pictures.items():
            self._backend.write(picture, inputs.images[name])
        for name, (picture, _) in self._first.items():
            self._backend.write(picture, inputs.first_images[name])
        for item in self._beforehand:
            for spec in self._bundle.manifest.graphs[item.graph].inputs:
                array = np.ascontiguousarray(inputs.values[spec.name], dtype=spec.dtype)
                self._write_held(f"{item.graph}/{spec.name}", self._before[spec.name], array)
        made = {item.into for item in self._beforehand}
        for spec in self._graph.inputs:
            name = spec.name
            if name in self._inputs and name not in (SCHEDULE, *self._pictures, *made):
                array = np.ascontiguousarray(inputs.values[name], dtype=spec.dtype)
                self._write_held(name, self._inputs[name], array)
            for step, array in inputs.steps.get(name, {}).items() if name in self._given else ():
                self._backend.write(self._given[name][step], array)

    def _write_held(self, name: str, place: Any, array: Array) -> None:
        if name not in self._held or not np.array_equal(self._held[name], array):
            self._backend.write(place, array)
            self._held[name] = array

    def _zeros(self, spec: TensorSpec) -> Array:
        return np.zeros(known_sizes(spec.sized(batch=self._batch, steps=self._steps)), spec.dtype)

    def _place(self, spec: TensorSpec, batch: int | None = None) -> Any:
        sizes = spec.sized(batch=self._batch if batch is None else batch, steps=self._steps)
        return self._backend.allocate(sizes, spec.dtype)

    def _filled(self, array: Array) -> Any:
        place = self._backend.allocate(array.shape, str(array.dtype))
        self._backend.write(place, array)
        return place
