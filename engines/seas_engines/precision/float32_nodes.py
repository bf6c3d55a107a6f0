"""Decides by measurement which nodes of a graph stay in float32 when the rest becomes half.

First what overflows, or comes near it, on real and on extreme inputs, with what reads it. Then, where the
graph still strays too far, the smallest set that mends it: delta debugging (Zeller and Hildebrandt 2002)
drops whatever may be dropped until nothing more can be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from seas_engines.precision.evaluator import Evaluator
from seas_engines.precision.half import HALF_MAX
from seas_runtime.errors import CheckFailed

HEADROOM = 4.0
"""How many times larger than measured a value may get: inputs vary, and latents are squared on the way."""
BOUND = 1e-2
"""Largest distance from the float32 graph on real inputs: as export's parity bound for half."""
EXTREME_BOUND = 5e-2
"""The same on inputs beyond what generation feeds, where it is enough that nothing breaks."""


SEARCH_SECONDS = 1200.0
"""How long to look for fewer nodes: a large graph takes minutes a variant on a small machine."""


@dataclass(frozen=True)
class Islands:
    """The choice for one graph, and what it rests on.

    Attributes:
        float32: names of the nodes that stay in float32, in the graph's order.
        overflowing: those among them that are there because a value gets, or comes near, beyond half's range.
        candidates: how many nodes could be half.
        largest: the largest magnitude of any value that is half now.
        error: distance from the float32 graph, the worst of the real inputs.
        extreme_error: the same for the extreme inputs.
        runs: how many variants of the graph were run.
    """

    float32: tuple[str, ...]
    overflowing: tuple[str, ...]
    candidates: int
    largest: float
    error: float
    extreme_error: float
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON values."""
        return {
            "float32": list(self.float32),
            "overflowing": list(self.overflowing),
            "candidates": self.candidates,
            "largest": self.largest,
            "error": self.error,
            "extreme_error": self.extreme_error,
            "runs": self.runs,
        }


def find_islands(
    evaluator: Evaluator,
    bound: float = BOUND,
    extreme_bound: float = EXTREME_BOUND,
    budget: int = 200,
    seconds: float = SEARCH_SECONDS,
) -> Islands:
    """Return the smallest set of nodes found that keeps a graph within its bounds.

    Args:
        evaluator: opened on the graph.
        bound, extreme_bound: distances allowed.
        budget: variants to run at most; past it the set is as small as was found.
        seconds: the same in time.

    Raises:
        CheckFailed: even the part that has no candidate for half is out of bounds, which says that the graph
        itself gives no finite values on these inputs, or has inputs or outputs that half cannot hold.
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
            ends = (
                ", or what goes in or comes out as half gets too large for it"
                if evaluator.half_values
                else ""
            )
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
    return Islands(
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

    Once all that may be is `spent`, what is left of them passes too.
    """
    kept, parts = list(items), 2
    while kept and not spent():
        size = math.ceil(len(kept) / parts)
        pieces = [kept[start : start + size] for start in range(0, len(kept), size)]
        for piece in pieces:
            alone = passes(piece) if len(pieces) > 1 else False
            if alone:
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
