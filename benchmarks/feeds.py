"""Random inputs of a bundle's graphs, for timing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seas_runtime.bundle.reading import Bundle
from seas_runtime.manifest.types import BATCH, STEPS


def graph_feeds(bundle: Bundle, graph: str) -> dict[str, Any]:
    """Return random inputs of a graph, a batch of one at the middle of the schedule."""
    random, schedule = np.random.default_rng(0), bundle.schedule()
    known = {
        "schedule": schedule.table,
        "step_index": np.array([schedule.steps // 2]),
        "guidance": np.array([bundle.manifest.sampler.guidance]),
    }
    return {
        spec.name: np.asarray(
            known.get(spec.name, random.standard_normal(sized(spec.shape, schedule.steps))), spec.dtype
        )
        for spec in bundle.manifest.graphs[graph].inputs
    }


def sized(shape: Sequence[int | str], steps: int) -> list[int]:
    """Return a tensor's sizes, for a batch of one and a schedule of `steps`."""
    return [{BATCH: 1, STEPS: steps}[size] if isinstance(size, str) else size for size in shape]
