"""What a task is: the sets that it compares, the work of a training, and what the results amount to."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.proof.request import ProofOptions
from seas_export.proof.results.summary import Summary
from seas_export.proof.sets.arms import Arm
from seas_export.proof.sets.copy_paste import Pasted
from seas_export.proof.sets.named import NamedSet
from seas_export.proof.trainings.job import Arrays, Work
from seas_train.settings import Settings

if TYPE_CHECKING:
    from seas_train.data import Product
    from seas_train.proof.pictures import Pictures, Sample


@dataclass(frozen=True)
class Shown:
    """What a task is done on: the product, and the held-out photographs that it tests on."""

    product: Product
    pictures: Pictures
    tested: tuple[Sample, ...]


@dataclass(frozen=True)
class Given:
    """What sets are made of, as models see them."""

    pairs: tuple[Sample, ...]
    normals: tuple[Sample, ...]
    pasted: Pasted | None
    named: Sequence[NamedSet]


@dataclass(frozen=True)
class Outcome:
    """What the results amount to. columns: figures that tables show; more: beside them in `proof.json`."""

    summary: Summary
    columns: tuple[str, ...]
    more: Mapping[str, Any] = field(default_factory=dict)
    pages: tuple[str, ...] = ()
    """Parts of the page beyond the tables of figures, in Markdown."""


class Task(Work):
    """One of the things that models are tried at."""

    pastes = True
    """Whether real defects pasted onto normals can be a set."""
    needs_pairs = True
    """Whether a data set of normals alone is none."""

    @abstractmethod
    def recipe(self, options: ProofOptions) -> Settings:
        """Return how each model is trained."""

    @abstractmethod
    def in_words(self, options: ProofOptions) -> str:
        """Say the model and its training in a line."""

    @abstractmethod
    def tested(self, held_out: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """Return the held-out photographs that this task tests on."""

    @abstractmethod
    def arms(self, given: Given, options: ProofOptions, seed: int) -> list[Arm]:
        """Return the sets in the order of the table; their names are the same for every seed."""

    def notes(self, given: Given, options: ProofOptions) -> list[str]:
        """Say what else is to be known of it."""
        return []

    @abstractmethod
    def outcome(
        self, shown: Shown, found: Mapping[str, Sequence[Arrays]], against: Mapping[str, Sequence[str]]
    ) -> Outcome:
        """Sum up the results of each set, one of each seed."""

    def draw(self, file: Path, shown: Shown, found: Mapping[str, Sequence[Arrays]]) -> bool:
        """Draw a picture of the results; False where this task has none."""
        return False
