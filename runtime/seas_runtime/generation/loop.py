"""The denoising loop: noise, N steps, the last of them with their masks, and the final image."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seas_runtime.backends.contract import Backend, DeviceMemoryError, Watch
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed
from seas_runtime.generation import noise
from seas_runtime.generation.plan import Made, Plan, Start, joined, step_graph
from seas_runtime.generation.records import GraphTimes
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.schedule import Array, FloatArray, Schedule

_PLANS_KEPT = 4
"""A request runs at its own batch size, at its last batch's, and at those of retries."""


@dataclass(frozen=True)
class Settings:
    """What every pair of a request shares, with the bundle's defaults filled in."""

    defect: str
    seed: int
    schedule: Schedule
    guidance: float
    tau: float
    gate: bool


@dataclass(frozen=True, eq=False)
class Batch:
    """One attempt at B pairs."""

    images: npt.NDArray[np.uint8]  # [B, H, W, 3], RGB
    probabilities: FloatArray  # [B, H, W], the mean over the masked steps
    latents: FloatArray  # [B, C, h, w], final
    references: tuple[int, ...]
    times: GraphTimes  # each pair's share


def unwatched() -> None:
    """Watch nothing."""


class Loop:
    """Runs a bundle's graphs for one batch after another."""

    def __init__(self, bundle: Bundle, backend: Backend, sessions: Sessions) -> None:
        self._bundle = bundle
        self._backend = backend
        self._sessions = sessions
        self._plans: OrderedDict[tuple[str, str, int], Plan] = OrderedDict()
        self._joins = True
        self._fitting: int | None = None  # pairs that memory is known to hold at once, where it held no more
        latent = bundle.manifest.latent
        self._shape = (latent.channels, latent.height, latent.width)

    def prepare(self, settings: Settings, indices: Sequence[int], attempt: int) -> Start:
        """Draw what one attempt at `indices` starts from; host work alone, safe in another thread."""
        pool, seed, schedule = self._bundle.references, settings.seed, settings.schedule
        chosen = [noise.reference_index(seed, index, attempt, len(pool)) for index in indices]
        drawn = np.stack([noise.start_noise(seed, index, attempt, self._shape) for index in indices])
        fresh = {
            int(step): np.stack(
                [noise.step_noise(seed, index, attempt, int(step), self._shape) for index in indices]
            )
            for step in np.flatnonzero(schedule.table[:, 7])
        }
        return Start(tuple(chosen), schedule.start_latents(pool[chosen], drawn), fresh)

    def run(
        self,
        settings: Settings,
        indices: Sequence[int],
        attempt: int,
        start: Start | None = None,
        watch: Watch = unwatched,
    ) -> Batch:
        """Make one attempt at each of `indices`, together; `start` is what `prepare` gave for it.

        In each of the last `mask_steps` steps the mask is decoded from the latents before the step's update,
        with that step's taps (SeaS, section 3.4). `watch` is called between graphs where the host waits for
        them, and may raise.
        """
        begun = time.perf_counter()
        start = self.prepare(settings, indices, attempt) if start is None else start
        count = len(indices)
        made = joined(self._parts(settings, count, start, watch))
        mean = np.asarray(np.mean(made.probabilities, axis=0, dtype=np.float32))
        self._check_shapes(count, made.images, mean)
        return Batch(
            images=made.images,
            probabilities=mean,
            latents=made.latents,
            references=start.references,
            times=made.times(time.perf_counter() - begun, count),
        )

    def _parts(self, settings: Settings, count: int, start: Start, watch: Watch) -> list[Made]:
        """Run a batch's plan, or the plans of its parts where the backend runs fewer pairs at once.

        Where device memory is short all of it is given back. Then the masks are decoded one by one, and where
        that is not enough half as many pairs run at once; so is the rest of what this loop runs.
        """
        most = self._backend.most_at_once(self._bundle.manifest.image.pixels) or count
        made: list[Made] = []
        first = 0
        while first < count:
            pairs = min(most, self._fitting or most, count - first)
            part = start.part(first, first + pairs)
            try:
                # No name for the plan: it would hold memory where that is short.
                made.append(self._plan(settings, pairs).run(part, settings.defect, settings.guidance, watch))
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

    def _plan(self, settings: Settings, count: int) -> Plan:
        graph = step_graph(self._bundle, settings.guidance)
        key = (graph, settings.schedule.key, count)
        if key not in self._plans:
            while len(self._plans) >= _PLANS_KEPT:
                self._plans.popitem(last=False)
            self._plans[key] = Plan(
                self._bundle, self._backend, self._sessions, settings.schedule, graph, count, self._joins
            )
        self._plans.move_to_end(key)
        return self._plans[key]

    def _check_shapes(self, count: int, images: Array, probabilities: Array) -> None:
        """Refuse what the decoders gave where their sizes are dynamic and not the manifest's."""
        size = self._bundle.manifest.image
        expected = (count, size.height, size.width)
        if probabilities.shape != expected or images.shape != (*expected, 3):
            raise CheckFailed(
                f"{self._bundle.path}: expected images and masks of {list(expected)}, found "
                f"{list(images.shape)} and {list(probabilities.shape)}; export the bundle again"
            )
