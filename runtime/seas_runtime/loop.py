"""The denoising loop: noise, N steps, the last of them with their masks, and the final image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seas_runtime import noise
from seas_runtime.backends import Backend, Session, Value
from seas_runtime.bundle import Bundle
from seas_runtime.clock import Clock
from seas_runtime.errors import CheckFailed
from seas_runtime.manifest import DECODE_IMAGE, DECODE_MASK, STEP, UNCONDITIONAL
from seas_runtime.records import GraphTimes
from seas_runtime.schedule import Array, FloatArray, Schedule

TAPS = ("tap_coarse", "tap_fine")


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


class Loop:
    """Runs a bundle's three graphs for one batch after another."""

    def __init__(self, bundle: Bundle, backend: Backend, sessions: dict[str, Session]) -> None:
        self._bundle = bundle
        self._backend = backend
        self._sessions = sessions
        latent = bundle.manifest.latent
        self._shape = (latent.channels, latent.height, latent.width)
        self._takes_noise = bundle.manifest.graphs[STEP].input("noise") is not None

    def run(self, settings: Settings, indices: Sequence[int], attempt: int) -> Batch:
        """Make one attempt at each of `indices`, together.

        In each of the last `mask_steps` steps the mask is decoded from the latents before the step's update,
        with that step's taps (SeaS, section 3.4).
        """
        clock = Clock()
        schedule = settings.schedule
        references, start = self._start(settings, indices, attempt)
        latents = self._backend.upload(start)
        previous_x0 = self._backend.upload(np.zeros_like(start))
        constants = self._constants(settings, len(indices))
        probabilities: list[Array] = []
        first_masked = schedule.steps - self._bundle.manifest.sampler.mask_steps
        for step in range(schedule.steps):
            feeds = {
                **constants,
                **self._step_feeds(settings, indices, attempt, step),
                "latents": latents,
                "previous_x0": previous_x0,
            }
            taps = TAPS if step >= first_masked else ()
            with clock.measuring(STEP):
                made = self._sessions[STEP].run(feeds, ("next_latents", "x0", *taps))
            if taps:
                mask_feeds = {"latents": latents, **{tap: made[tap] for tap in taps}}
                with clock.measuring(DECODE_MASK):
                    decoded = self._sessions[DECODE_MASK].run(mask_feeds, ("probability",))
                    probabilities.append(self._backend.download(decoded["probability"]))
            latents, previous_x0 = made["next_latents"], made["x0"]
        with clock.measuring(DECODE_IMAGE):
            decoded = self._sessions[DECODE_IMAGE].run({"latents": latents}, ("image",))
            images = self._backend.download(decoded["image"])
        mean = np.asarray(np.mean(probabilities, axis=0, dtype=np.float32))
        self._check_shapes(len(indices), images, mean)
        return Batch(
            images=images,
            probabilities=mean,
            latents=self._backend.download(latents),
            references=references,
            times=clock.times().divided(len(indices)),
        )

    def _check_shapes(self, count: int, images: Array, probabilities: Array) -> None:
        """Refuse what the decoders gave where their sizes are dynamic and not the manifest's."""
        size = self._bundle.manifest.image
        expected = (count, size.height, size.width)
        if probabilities.shape != expected or images.shape != (*expected, 3):
            raise CheckFailed(
                f"{self._bundle.path}: expected images and masks of {list(expected)}, found "
                f"{list(images.shape)} and {list(probabilities.shape)}; export the bundle again"
            )

    def _start(
        self, settings: Settings, indices: Sequence[int], attempt: int
    ) -> tuple[tuple[int, ...], FloatArray]:
        """Return each pair's reference and its noised latents [B, C, h, w]."""
        pool, seed = self._bundle.references, settings.seed
        chosen = [noise.reference_index(seed, index, attempt, len(pool)) for index in indices]
        fresh = np.stack([noise.start_noise(seed, index, attempt, self._shape) for index in indices])
        return tuple(chosen), settings.schedule.start_latents(pool[chosen], fresh)

    def _constants(self, settings: Settings, count: int) -> dict[str, Value]:
        """Return the step graph's inputs that stay the same over the steps."""
        embeddings = self._bundle.embeddings
        arrays = {
            "schedule": settings.schedule.table,
            "guidance": np.array([settings.guidance]),
            "context": np.repeat(embeddings[settings.defect][None], count, axis=0),  # [B, L, D]
            "negative_context": embeddings[UNCONDITIONAL][None],  # [1, L, D]
        }
        graph = self._bundle.manifest.graphs[STEP]
        dtypes = {spec.name: spec.dtype for spec in graph.inputs}
        return {
            name: self._backend.upload(np.ascontiguousarray(array, dtype=dtypes[name]))
            for name, array in arrays.items()
        }

    def _step_feeds(
        self, settings: Settings, indices: Sequence[int], attempt: int, step: int
    ) -> dict[str, Value]:
        """Return the step graph's inputs that are one step's own."""
        feeds = {"step_index": self._backend.upload(np.array([step], dtype=np.int64))}
        if self._takes_noise:
            fresh = np.zeros((len(indices), *self._shape), dtype=np.float32)
            if settings.schedule.table[step, 7] != 0:
                for position, index in enumerate(indices):
                    fresh[position] = noise.step_noise(settings.seed, index, attempt, step, self._shape)
            feeds["noise"] = self._backend.upload(fresh)
        return feeds
