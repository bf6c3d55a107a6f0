"""Everything that a batch of one size and schedule needs, allocated and bound once, run again and again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from seas_runtime.backends.contract import Backend, Call, Shape, Value, Watch
from seas_runtime.backends.cores import usable_cores
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.records import GraphTimes
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import (
    DECODE_IMAGE,
    DECODE_MASK,
    STEP,
    STEP_UNGUIDED,
    UNCONDITIONAL,
    GraphSpec,
)

TAPS = ("tap_coarse", "tap_fine")


@dataclass(frozen=True, eq=False)
class Start:
    """What a batch starts from, made on the host.

    `latents` [B, C, h, w] float32 are noised; `fresh` holds the noise, as large, of the steps that add some.
    """

    references: tuple[int, ...]
    latents: Array
    fresh: Mapping[int, Array]

    def part(self, first: int, end: int) -> Start:
        """Return the start of the pairs from `first` to before `end`."""
        return Start(
            self.references[first:end],
            self.latents[first:end],
            {step: array[first:end] for step, array in self.fresh.items()},
        )


@dataclass(frozen=True, eq=False)
class Made:
    """What a batch gave: `probabilities` are one [B, H, W] a masked step; times are the whole batch's."""

    images: Array
    probabilities: list[Array]
    latents: Array
    step: float
    decode_mask: float
    decode_image: float

    def times(self, total: float, count: int) -> GraphTimes:
        """Return a pair's share of a batch of `count` that took `total` seconds."""
        return GraphTimes(self.step, self.decode_mask, self.decode_image, total).divided(count)


class Plan:
    """The tensors and calls of `batch` pairs on one schedule.

    Step i reads latents x_i and writes x_{i+1}. Those two, and x0, take turns in two places each; what the
    mask decodes read later, the latents and taps of the masked steps, has places of its own, side by side
    where one decode of them all is wanted (`join`).
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        sessions: Sessions,
        schedule: Schedule,
        step_graph: str,
        batch: int,
        join: bool,
    ) -> None:
        self._bundle, self._backend, self._sessions = bundle, backend, sessions
        self._batch = batch
        self._graph = bundle.manifest.graphs[step_graph]
        self._step_graph = step_graph
        self._given: tuple[str, float] | None = None  # whose context and guidance the constants hold
        self._masked = min(bundle.manifest.sampler.mask_steps, schedule.steps)
        together = self._masked * batch
        self._join = (
            join
            and backend.joins
            and 1 < self._masked < schedule.steps  # x_0 comes from the host, so it has its own place
            and together <= (backend.most_at_once(bundle.manifest.image.pixels) or together)
            and sessions[DECODE_MASK].takes(together)
        )
        self._allocate(schedule)
        self._steps, self._masks, self._decode = map(backend.sequence, self._bind(schedule))

    def run(self, start: Start, defect: str, guidance: float, watch: Watch) -> Made:
        """Run all steps and decodes of one batch; the host waits once, at the end."""
        backend = self._backend
        self._give(defect, guidance)
        backend.write(self._latents[0], start.latents)
        for index, array in start.fresh.items():
            backend.write(self._noise[index], array)
        marks = [backend.mark()]
        for sequence in (self._steps, self._masks, self._decode):
            sequence(watch)
            marks.append(backend.mark())
        image, latents, *probabilities = backend.read([self._image, self._latents[-1], *self._probabilities])
        if self._join:
            whole = probabilities[0]
            probabilities = list(whole.reshape(self._masked, self._batch, *whole.shape[1:]))
        step, mask, decode = (backend.seconds(begin, end) for begin, end in itertools.pairwise(marks))
        backend.settle()
        return Made(image, probabilities, latents, step, mask, decode)

    def _allocate(self, schedule: Schedule) -> None:
        """Make a place for every tensor, and fill those that never change."""
        steps, batch, masked = schedule.steps, self._batch, self._masked
        first = steps - masked
        latent = self._bundle.manifest.latent
        shape = (latent.channels, latent.height, latent.width)
        turns = [self._place((batch, *shape), "float32") for _ in range(2)]
        kept, self._kept_latents = self._side_by_side(shape, "float32")
        begin, end = (self._place((batch, *shape), "float32") for _ in range(2))
        self._latents = [
            kept[step - first] if step >= first else begin if step == 0 else turns[step % 2]
            for step in range(steps)
        ] + [end]
        self._x0 = [self._place((batch, *shape), "float32") for _ in range(2)]
        nothing = self._filled(np.zeros((batch, *shape), np.float32))
        self._before = nothing
        self._indices = [self._filled(np.array([step], np.int64)) for step in range(steps)]
        self._schedule = self._filled(schedule.table)
        self._noise = [
            self._place((batch, *shape), "float32") if schedule.table[step, 7] != 0 else nothing
            for step in range(steps)
        ]
        self._constants = {
            spec.name: self._place(self._constant_shape(spec.name), spec.dtype)
            for spec in self._graph.inputs
            if spec.name in ("context", "negative_context", "guidance")
        }
        self._taps = {tap: self._side_by_side(*_output(self._graph, tap)) for tap in TAPS}
        maps, whole = self._side_by_side(*_output(self._bundle.manifest.graphs[DECODE_MASK], "probability"))
        self._probabilities = [whole] if self._join else maps
        sizes, dtype = _output(self._bundle.manifest.graphs[DECODE_IMAGE], "image")
        self._image = self._place((batch, *sizes), dtype)

    def _bind(self, schedule: Schedule) -> list[list[Call]]:
        """Bind the graphs, side by side where that may still load them."""
        binders: Sequence[Callable[[], list[Call]]]
        binders = (partial(self._bind_steps, schedule), self._bind_masks, self._bind_image)
        if not self._backend.loads_at_once:
            return [bind() for bind in binders]
        # The step's graph takes longest: on two cores the decodes' come one after another beside it.
        with ThreadPoolExecutor(min(len(binders), usable_cores())) as pool:
            return [bound.result() for bound in [pool.submit(bind) for bind in binders]]

    def _bind_steps(self, schedule: Schedule) -> list[Call]:
        session = self._sessions[self._step_graph]
        first = schedule.steps - self._masked
        calls = []
        for step in range(schedule.steps):
            feeds = {
                **self._constants,
                "schedule": self._schedule,
                "step_index": self._indices[step],
                "latents": self._latents[step],
                "previous_x0": self._x0[(step - 1) % 2] if step else self._before,
            }
            if self._graph.input("noise") is not None:
                feeds["noise"] = self._noise[step]
            outputs = {"next_latents": self._latents[step + 1], "x0": self._x0[step % 2]}
            if step >= first:
                outputs.update({tap: self._taps[tap][0][step - first] for tap in TAPS})
            calls.append(session.bind(feeds, outputs))
        return calls

    def _bind_masks(self) -> list[Call]:
        """Decode each masked step's latents, from before its update, with its taps; or all at once."""
        session = self._sessions[DECODE_MASK]
        if self._join:
            feeds = {"latents": self._kept_latents, **{tap: self._taps[tap][1] for tap in TAPS}}
            return [session.bind(feeds, {"probability": self._probabilities[0]})]
        first = len(self._indices) - self._masked
        return [
            session.bind(
                {
                    "latents": self._latents[first + place],
                    **{tap: self._taps[tap][0][place] for tap in TAPS},
                },
                {"probability": self._probabilities[place]},
            )
            for place in range(self._masked)
        ]

    def _bind_image(self) -> list[Call]:
        session = self._sessions[DECODE_IMAGE]
        return [session.bind({"latents": self._latents[-1]}, {"image": self._image})]

    def _give(self, defect: str, guidance: float) -> None:
        """Write a request's constants, once for all its batches."""
        if self._given == (defect, guidance):
            return
        embeddings = self._bundle.embeddings
        arrays = {
            "guidance": np.array([guidance]),
            "context": np.repeat(embeddings[defect][None], self._batch, axis=0),  # [B, L, D]
            "negative_context": embeddings[UNCONDITIONAL][None],  # [1, L, D]
        }
        for spec in self._graph.inputs:
            if spec.name in self._constants:
                array = np.ascontiguousarray(arrays[spec.name], dtype=spec.dtype)
                self._backend.write(self._constants[spec.name], array)
        self._given = (defect, guidance)

    def _constant_shape(self, name: str) -> Shape:
        words = next(iter(self._bundle.embeddings.values())).shape
        return {"guidance": (1,), "context": (self._batch, *words), "negative_context": (1, *words)}[name]

    def _place(self, shape: Shape, dtype: str) -> Value:
        return self._backend.allocate(shape, dtype)

    def _filled(self, array: Array) -> Value:
        place = self._place(array.shape, str(array.dtype))
        self._backend.write(place, array)
        return place

    def _side_by_side(self, sizes: Shape, dtype: str) -> tuple[list[Value], Value]:
        """Return a place [B, *sizes] for each masked step and, where joined, the one of them all."""
        if not self._join:
            return [self._place((self._batch, *sizes), dtype) for _ in range(self._masked)], None
        whole = self._place((self._masked * self._batch, *sizes), dtype)
        return [self._backend.part(whole, index, self._masked) for index in range(self._masked)], whole


def joined(parts: Sequence[Made]) -> Made:
    """Return what several runs gave as one batch's."""
    if len(parts) == 1:
        return parts[0]
    maps = zip(*(part.probabilities for part in parts), strict=True)
    return Made(
        np.concatenate([part.images for part in parts]),
        [np.concatenate(map_parts) for map_parts in maps],
        np.concatenate([part.latents for part in parts]),
        sum(part.step for part in parts),
        sum(part.decode_mask for part in parts),
        sum(part.decode_image for part in parts),
    )


def step_graph(bundle: Bundle, guidance: float) -> str:
    """Return the graph that takes a step: without the unconditional half where guidance leaves it unread."""
    return STEP_UNGUIDED if guidance == 1 and STEP_UNGUIDED in bundle.manifest.graphs else STEP


def _output(graph: GraphSpec, name: str) -> tuple[Shape, str]:
    """Return an output's sizes without the batch, None where they are dynamic, and its dtype."""
    spec = next(spec for spec in graph.outputs if spec.name == name)
    return tuple(size if isinstance(size, int) else None for size in spec.shape[1:]), spec.dtype
