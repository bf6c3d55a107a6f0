"""What the trainings amount to: figures of each set, pooled and of each defect, and how sets differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seas_export.proof.measures.bootstrap import Difference, compare
from seas_export.proof.measures.counts import Counts
from seas_export.proof.measures.figures import TITLES, Figures, measure
from seas_runtime.manifest.types import GOOD

POOLED = "pooled"
Result = TypeVar("Result")


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
        title = TITLES[self.difference.figure]
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
    groups = {POOLED: names == names, **{defect: names == defect for defect in defects}}
    return Summary(
        figures, compared(counts, against, groups, names, lambda one, chosen: one.of(chosen), compare)
    )


def compared(
    results: Mapping[str, Sequence[Result]],
    against: Mapping[str, Sequence[str]],
    scopes: Mapping[str, NDArray[np.bool_]],
    names: NDArray[np.str_],
    cut: Callable[[Result, NDArray[np.bool_]], Result],
    compare_sets: Callable[[Sequence[Result], Sequence[Result], Sequence[str]], Sequence[Difference]],
) -> tuple[Comparison, ...]:
    """Compare sets with those that they stand against, in each scope.

    results: of each set, one of each seed; cut: returns those of some photographs; scopes: which of the
    photographs [P] each scope has; names: what these show.
    """
    made = []
    for arm, others in against.items():
        for other in others:
            for scope, chosen in scopes.items():
                ours, theirs = ([cut(one, chosen) for one in results[name]] for name in (arm, other))
                found = compare_sets(ours, theirs, names[chosen].tolist())
                made += [Comparison(arm, other, scope, difference) for difference in found]
    return tuple(made)


_FIGURES = tuple(Figures.__dataclass_fields__)
