"""Which nodes of a graph stay in float32 when the rest becomes half, decided by measurement.

First the nodes whose values overflow, or come near it, on real and on extreme inputs, and the nodes that read
them. Then, where the graph is still out of its bounds, the smallest set that brings it within them: delta
debugging (Zeller and Hildebrandt 2002) drops nodes from the set until none can be dropped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seas_engines.precision.evaluator import Evaluator
from seas_engines.precision.half import HALF_MAX
from seas_runtime.errors import CheckFailed

HEADROOM = 4.0
"""How many times larger than measured a value may get: inputs vary, and some layers square them."""
BOUND = 1e-2
"""Largest distance from the float32 graph on real inputs: as export's parity bound for half."""
EXTREME_BOUND = 5e-2
"""The same on inputs beyond what generation feeds, where it is enough that nothing breaks."""
SEARCH_SECONDS = 1200.0
"""How long to look for fewer nodes: one variant of a large graph takes minutes on a small machine."""


@dataclass(frozen=True)
class Float32Nodes:
    """The choice for one graph, and the measurements behind it."""

    float32: tuple[str, ...]
    """Names of the nodes that stay in float32, in the graph's order."""
    overflowing: tuple[str, ...]
    """Those among them whose values half cannot hold, or almost not, and those that read such values."""
    candidates: int
    """How many nodes could be half."""
    largest: float
    """The largest magnitude of any value that is half now."""
    error: float
    """Distance from the float32 graph, the worst of the real inputs."""
    extreme_error: float
    """The same for the extreme inputs."""
    runs: int
    """How many variants of the graph were run."""

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON values."""
        values = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def find_float32_nodes(
    evaluator: Evaluator,
    bound: float = BOUND,
    extreme_bound: float = EXTREME_BOUND,
    budget: int = 200,
    seconds: float = SEARCH_SECONDS,
) -> Float32Nodes:
    """Return the smallest set of float32 nodes found that keeps a graph within its bounds.

    Args:
        evaluator: opened on the graph.
        bound, extreme_bound: distances allowed.
        budget: variants to run at most; then the smallest set so far is returned.
        seconds: time to take at most; the same.

    Raises:
        CheckFailed: the graph is out of its bounds with every candidate in float32: it gives no finite values
            on these inputs, or half cannot hold its inputs or outputs.
    """
    order = evaluator.candidates()
    largest = evaluator.largest()
    beyond = {name for name in order if largest[name] * HEADROOM > HALF_MAX}
    overflowing = beyond | evaluator.readers(beyond)  # half could not even hold what these read

    def errors(keep: Collection[str]) -> tuple[float, float]:
        found = evaluator.error(keep)
        real = [found[case.name] for case in evaluator.cases if not case.extreme]
        extreme = [found[case.name] for case in evaluator.cases if case.extreme]
        return max(real, default=0.0), max(extreme, default=0.0)

    def passes(keep: Collection[str]) -> bool:
        return evaluator.within(keep, bound, extreme_bound)

    chosen = set(overflowing)
    real, extreme = errors(chosen)
    if not (real <= bound and extreme <= extreme_bound):
        if not passes(order):
            ends = ", or its inputs or outputs are too large for half" if evaluator.half_values else ""
            raise CheckFailed(
                "half precision: with every node in float32 the graph is still out of its bounds; it gives "
                f"no finite values on these inputs{ends}. Use --precision fp32"
            )
        rest = [name for name in order if name not in chosen]
        deadline = time.monotonic() + seconds

        def spent() -> bool:
            return evaluator.runs >= budget or time.monotonic() > deadline

        chosen |= set(smallest(rest, lambda subset: passes(overflowing | set(subset)), spent))
        real, extreme = errors(chosen)
    kept = tuple(name for name in order if name in chosen)
    return Float32Nodes(
        float32=kept,
        overflowing=tuple(name for name in order if name in overflowing),
        candidates=len(order),
        largest=max((largest[name] for name in order if name not in chosen), default=0.0),
        error=_finite(real),
        extreme_error=_finite(extreme),
        runs=evaluator.runs,
    )


def smallest(
    items: Sequence[str], passes: Callable[[Sequence[str]], bool], spent: Callable[[], bool]
) -> list[str]:
    """Return a subset of `items`, which pass, from which no part can be dropped: delta debugging.

    When the time or budget is `spent`, return the smallest subset so far; it passes too.
    """
    kept, parts = list(items), 2
    while kept and not spent():
        size = math.ceil(len(kept) / parts)
        pieces = [kept[start : start + size] for start in range(0, len(kept), size)]
        for piece in pieces:
            if len(pieces) > 1 and passes(piece):
                kept, parts = piece, 2
                break
            dropped = set(piece)
            without = [name for name in kept if name not in dropped]
            if passes(without):
                kept, parts = without, max(parts - 1, 2)
                break
            if spent():
                return kept
        else:
            if parts >= len(kept):
                break
            parts = min(2 * parts, len(kept))
    return kept


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 1e30
