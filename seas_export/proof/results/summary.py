"""What the trainings amount to: figures of each set, pooled and of each defect, and how sets differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np

from seas_export.proof.measures.bootstrap import Difference, compare
from seas_export.proof.measures.counts import Counts
from seas_export.proof.measures.figures import Figures, measure
from seas_runtime.manifest.types import GOOD

POOLED = "pooled"


@dataclass(frozen=True)
class Spread:
    """A figure over seeds. spread: the standard deviation, None of one seed."""

    mean: float
    spread: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread | None:
        """Return the spread of a figure; None where it was not measured."""
        found = [value for value in values if value is not None]
        if len(found) < len(values) or not found:
            return None
        return cls(mean(found), stdev(found) if len(found) > 1 else None, tuple(found))


@dataclass(frozen=True)
class Comparison:
    """How one set differs from another in one scope, `pooled` or a defect."""

    arm: str
    against: str
    scope: str
    difference: Difference

    def words(self) -> str:
        """Say it in a line."""
        title = {"iou": "IoU", "ap": "pixel AP"}[self.difference.figure]
        return f"{self.arm} against {self.against}, {self.scope}, {title}: {self.difference.words()}"


@dataclass(frozen=True)
class Summary:
    """figures: by set, scope and figure; comparisons in the order of the table."""

    figures: Mapping[str, Mapping[str, Mapping[str, Spread | None]]]
    comparisons: tuple[Comparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "figures": {
                arm: {
                    scope: {name: None if one is None else asdict(one) for name, one in figures.items()}
                    for scope, figures in scopes.items()
                }
                for arm, scopes in self.figures.items()
            },
            "comparisons": [
                {
                    "set": one.arm,
                    "against": one.against,
                    "scope": one.scope,
                    **asdict(one.difference),
                    "verdict": one.difference.verdict,
                }
                for one in self.comparisons
            ],
        }


def summarize(
    counts: Mapping[str, Sequence[Counts]], against: Mapping[str, Sequence[str]], shown: Sequence[str]
) -> Summary:
    """Sum up. counts: of each set, one of each seed; against: what a set is compared with.

    shown: what each photograph [P] shows: a defect, or `good`. Pooled figures rank the pixels of all
    photographs; those of a defect the pixels of its own, and its photographs against the normals.
    """
    names = np.array(shown)
    defects = [name for name in dict.fromkeys(shown) if name != GOOD]
    scopes = {POOLED: np.ones(len(names), np.bool_), **{d: (names == d) | (names == GOOD) for d in defects}}
    figures: dict[str, dict[str, dict[str, Spread | None]]] = {}
    for arm, seeds in counts.items():
        figures[arm] = {}
        for scope, chosen in scopes.items():
            normal = names[chosen] == GOOD
            pixels = np.ones(len(normal), np.bool_) if scope == POOLED else ~normal
            found = [measure(one.of(chosen), normal, pixels).to_dict() for one in seeds]
            figures[arm][scope] = {name: Spread.of([one[name] for one in found]) for name in _FIGURES}
    comparisons = []
    for arm, others in against.items():
        for other in others:
            for scope in scopes:
                chosen = scopes[scope] if scope == POOLED else names == scope
                groups = names[chosen].tolist()
                pairs = [[one.of(chosen) for one in counts[name]] for name in (arm, other)]
                comparisons += [
                    Comparison(arm, other, scope, found) for found in compare(pairs[0], pairs[1], groups)
                ]
    return Summary(figures, tuple(comparisons))


_FIGURES = tuple(Figures.__dataclass_fields__)
