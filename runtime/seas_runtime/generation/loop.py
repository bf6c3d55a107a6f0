"""The denoising loop: noise, N steps, what is read beside the last of them, and the final image."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.backends.contract import Backend, DeviceMemoryError, Watch
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed
from seas_runtime.generation.batch import Output, joined, layout, part_of
from seas_runtime.generation.plan import Plan
from seas_runtime.generation.records import Times
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.schedule import Array, FloatArray
from seas_runtime.methods.contract import Inputs, Masks
from seas_runtime.methods.request import PairRequest, Request
from seas_runtime.methods.table import find_method

_PLANS_KEPT = 4
"""A request runs at its own batch size, at its last batch's, and at those of retries."""


@dataclass(frozen=True, eq=False)
class Attempted:
    """One attempt at B pairs."""

    images: npt.NDArray[np.uint8]  # [B, H, W, 3], RGB
    masks: Masks
    latents: FloatArray  # [B, C, h, w], final
    inputs: Inputs
    observed: Mapping[str, Array]
    """What the last step gave, [B, ...], of the outputs that the pairs ask for."""
    times: Times
    """Each pair's share."""
    rebuilt: Mapping[str, Array]
    """What encoding and decoding make of the pictures [B, H, W, 3] that an input of the first step is made
    from."""


def unwatched() -> None:
    """Watch nothing."""


class Loop:
    """Runs a bundle's graphs for one batch after another."""

    def __init__(self, bundle: Bundle, backend: Backend[Any], sessions: Sessions) -> None:
        self._bundle = bundle
        self._backend = backend
        self._sessions = sessions
        self._method = find_method(bundle.manifest.method)
        self._plans: OrderedDict[tuple[Hashable, ...], Plan] = OrderedDict()
        self._joins = True
        self._fitting: int | None = None  # pairs that memory is known to hold at once, where it held no more

    def prepare(self, pairs: Sequence[PairRequest], attempt: int) -> Inputs:
        """Make what one attempt at `pairs` is fed; host work alone, safe in another thread.

        The pairs' defects and seeds may differ; their samplers, steps, guidance and options may not.
        """
        return self._method.inputs(self._bundle, pairs, attempt)

    def run(
        self,
        pairs: Sequence[PairRequest],
        attempt: int,
        inputs: Inputs | None = None,
        watch: Watch = unwatched,
    ) -> Attempted:
        """Make one attempt at each of `pairs`, together; `inputs` is what `prepare` gave for it.

        `watch` is called between graphs where the host waits for them, and may raise.
        """
        begun = time.perf_counter()
        inputs = self.prepare(pairs, attempt) if inputs is None else inputs
        made = joined(self._parts(pairs[0].request, inputs, watch))
        requests = [pair.request for pair in pairs]
        attempted = Attempted(
            images=made.images,
            masks=self._method.masks(self._bundle, made.readings, inputs, requests),
            latents=made.latents,
            inputs=inputs,
            observed=made.observed,
            times=Times(made.seconds, time.perf_counter() - begun).divided(len(pairs)),
            rebuilt=made.rebuilt,
        )
        self._check_shapes(attempted, len(pairs))
        return attempted

    def _parts(self, request: Request, inputs: Inputs, watch: Watch) -> list[Output]:
        """Run a batch's plan, or the plans of its parts where the backend runs fewer pairs at once.

        Where device memory is short all of it is given back. Then readouts run step by step, and where that
        is not enough half as many pairs run at once; so is the rest of what this loop runs.
        """
        count = len(inputs.origins)
        most = self._backend.most_at_once(self._bundle.manifest.image.pixels) or count
        made: list[Output] = []
        first = 0
        while first < count:
            pairs = min(most, self._fitting or most, count - first)
            part = inputs if pairs == count else self._part(request, inputs, first, first + pairs)
            try:
                # No name for the plan: it would hold memory where that is short.
                made.append(self._plan(request, part).run(part, watch))
                first += pairs
            except DeviceMemoryError:
                if self._joins:
                    self._joins = False
                elif pairs > 1:
                    self._fitting = -(-pairs // 2)
                else:
                    raise
                self._plans.clear()
                self._sessions.unload()
        return made

    def _part(self, request: Request, inputs: Inputs, first: int, end: int) -> Inputs:
        manifest = self._bundle.manifest
        names = [item.graph for item in inputs.beforehand]
        specs = [
            spec for name in (*names, self._step_graph(request)) for spec in manifest.graphs[name].inputs
        ]
        return part_of(inputs, specs, first, end)

    def _step_graph(self, request: Request) -> str:
        return self._method.step_graph(self._bundle.manifest, request.sampling, request.options)

    def _plan(self, request: Request, inputs: Inputs) -> Plan:
        graph, sampling = self._step_graph(request), request.sampling
        schedule = self._bundle.schedule(sampling.sampler, sampling.steps)
        readouts = self._method.readouts(self._bundle.manifest, request.options)
        key = (graph, schedule.key, *(item.steps for item in readouts), *layout(inputs))
        if key not in self._plans:
            while len(self._plans) >= _PLANS_KEPT:
                self._plans.popitem(last=False)
            self._plans[key] = Plan(
                self._bundle,
                self._backend,
                self._sessions,
                inputs.schedule or schedule,
                graph,
                readouts,
                inputs,
                self._joins,
            )
        self._plans.move_to_end(key)
        return self._plans[key]

    def _check_shapes(self, made: Attempted, count: int) -> None:
        """Refuse what the decoders gave where their sizes are dynamic and not the manifest's."""
        size, masks = self._bundle.manifest.image, made.masks.masks
        expected = (count, size.height, size.width)
        if masks.shape != expected or made.images.shape != (*expected, 3):
            raise CheckFailed(
                f"{self._bundle.path}: expected images and masks of {list(expected)}, found "
                f"{list(made.images.shape)} and {list(masks.shape)}; export the bundle again"
            )
