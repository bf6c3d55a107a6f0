"""Whether a defect's prompt changes what is made: the same noise with it, and with the normal's prompt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_export.methods.contract import ExportMethod
from seas_export.verdict.figures import PromptEffect
from seas_runtime.backends.contract import AUTO, open_backend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.loop import Loop
from seas_runtime.generation.resolve import resolve
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.request import PairRequest, Request, Sampling

Images = npt.NDArray[np.float32]


def prompt_effects(
    folder: Path,
    method: ExportMethod,
    *,
    count: int,
    batch: int,
    seed: int = 0,
    guidance: float | None = None,
    backend: str,
    threads: int | None = None,
) -> dict[str, PromptEffect]:
    """Generate `count` pictures of each prompt from the same noise, and compare them with the normal's.

    The bundle's own runtime makes them, without gates. Nothing is measured of a method without prompts.

    Raises:
        UserError: the bundle is broken, or there is no such backend.
    """
    if method.with_prompt is None:
        return {}
    bundle = Bundle.read(folder)
    if backend == AUTO:
        from seas_runtime.backends.auto import choose

        backend = choose(folder).backend
    opened = open_backend(backend, threads)
    loop = Loop(bundle, opened, Sessions(bundle, opened))
    request = resolve(Request(GOOD, seed, Sampling(guidance=guidance)), bundle)
    given = method.with_prompt

    def make(name: str) -> Images:
        made = []
        for first in range(0, count, batch):
            pairs = [PairRequest(request, index) for index in range(first, min(first + batch, count))]
            inputs = given(bundle, loop.prepare(pairs, 0), name)
            made.append(loop.run(pairs, 0, inputs).images)
        return np.concatenate(made).astype(np.float32)

    cell = max(1, bundle.manifest.image.height // bundle.manifest.latent.height)
    return effects(make(GOOD), make, bundle.manifest.defects, cell)


def effects(
    normals: Images, make: Callable[[str], Images], defects: Sequence[str], cell: int
) -> dict[str, PromptEffect]:
    """Return how far each defect's pictures [N, H, W, 3] lie from the normals' of the same noise."""
    pairs = list(itertools.combinations(range(len(normals)), 2))
    by_noise = float(np.mean([largest_change(normals[a], normals[b], cell) for a, b in pairs] or [0.0]))
    found = {}
    for name in defects:
        changes = [largest_change(*both, cell) for both in zip(make(name), normals, strict=True)]
        found[name] = PromptEffect(len(changes), round(float(np.mean(changes)), 3), round(by_noise, 3))
    return found


def largest_change(image: npt.NDArray[Any], other: npt.NDArray[Any], cell: int) -> float:
    """Return the largest mean absolute difference of a latent cell's pixels, in levels of 255."""
    apart = np.abs(image - other).mean(axis=-1)
    rows, columns = apart.shape[0] // cell, apart.shape[1] // cell
    cells = apart[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell).mean(axis=(1, 3))
    return float(cells.max())
