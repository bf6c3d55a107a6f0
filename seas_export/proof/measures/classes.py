"""The figures of a classifier: how often it names the defect that a photograph shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_export.proof.measures.bootstrap import Difference, FloatArray, differences


@dataclass(frozen=True, eq=False)
class Named:
    """What a classifier says of P photographs."""

    probabilities: NDArray[np.float32]
    """[P, D]."""
    names: NDArray[np.str_]
    """Of the defects [D] that it tells apart."""
    shown: NDArray[np.str_]
    """The defects [P] that the photographs show."""

    @property
    def said(self) -> NDArray[np.str_]:
        """The likeliest defect [P]."""
        return np.asarray(self.names[self.probabilities.argmax(1)])

    @property
    def right(self) -> FloatArray:
        """1 where that is what is shown [P], else 0."""
        return np.asarray(self.said == self.shown, np.float64)

    def of(self, chosen: NDArray[np.bool_]) -> Named:
        """Return what is said of some of the photographs [P]."""
        return Named(self.probabilities[chosen], self.names, self.shown[chosen])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the results as arrays by name."""
        return {"probabilities": self.probabilities, "names": self.names, "shown": self.shown}

    @classmethod
    def from_arrays(cls, found: Mapping[str, NDArray[Any]]) -> Named:
        """Return results from their arrays; KeyError or ValueError where these are none of ours."""
        made = cls(found["probabilities"], found["names"], found["shown"])
        if made.probabilities.shape != (len(made.shown), len(made.names)):
            raise ValueError("not a probability of each name for each photograph")
        return made


def class_figures(named: Named) -> dict[str, float]:
    """Return the share of photographs that are named right, and the mean of these shares over defects."""
    shares = [float(named.right[named.shown == name].mean()) for name in np.unique(named.shown)]
    return {"accuracy": float(named.right.mean()), "balanced": float(np.mean(shares))}


def compare_named(ours: Sequence[Named], theirs: Sequence[Named], groups: Sequence[str]) -> list[Difference]:
    """Compare classifiers by accuracy."""
    return differences(("accuracy",), _accuracy, ours, theirs, groups)


def _accuracy(figure: str, named: Named, weights: FloatArray) -> FloatArray:
    """Return the accuracy [R] where photographs count as weights [R, P] say."""
    return np.asarray(weights @ named.right / weights.sum(1))
