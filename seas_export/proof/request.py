"""What is asked of a proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from seas_export.proof.sets.held_out import Half
from seas_runtime.errors import UserError
from seas_train.data import PhotographsConfig
from seas_train.proof.classifiers.fitting import ClassifierRecipe
from seas_train.proof.fitting import Recipe
from seas_train.settings import Bound, Count, Settings


class Kind(str, Enum):
    """What models are tried at."""

    SEGMENT = "segment"  # to find the pixels of defects
    CLASSIFY = "classify"  # to name a photograph's defect
    IMAGES = "images"  # to tell photographs with a defect from normals


LEAST_SEEDS = 3
"""Fewer say nothing of the spread; they are taken for a quick look, and said to be too few."""


@dataclass(frozen=True)
class ProofOptions(Settings):
    """Options of a proof."""

    task: Kind = Kind.SEGMENT
    recipe: Recipe = field(default_factory=Recipe)
    """Of segmenters."""
    naming: ClassifierRecipe = field(default_factory=ClassifierRecipe)
    """Of classifiers."""
    few: Count = 5
    """Real normals that nearest neighbours are taken of."""
    seeds: Count = LEAST_SEEDS
    half: Half = Half.DEVELOPMENT
    copy_paste: bool = True
    """Whether real defects pasted onto normals are proved beside."""
    pasted: Count | None = None
    """Pasted pairs of each defect; None for as many as the named data sets have, 200 without one."""
    alone: bool = True
    """Whether each data set is proved without the real pairs too."""
    scale: Annotated[float, Bound("more than 0, at most 1", lambda value: 0 < value <= 1)] | None = None
    """Of the photographs, for segmenters; None to choose."""


@dataclass(frozen=True)
class ProveRequest:
    """A proof: a product, the data sets by name, and where the results go."""

    directory: Path
    named: dict[str, Path]
    out: Path
    options: ProofOptions = field(default_factory=ProofOptions)
    photographs: PhotographsConfig = field(default_factory=PhotographsConfig)
    device: str = "cpu"
    workers: int | None = None
    """Trainings at a time; None for as many as there are cores, one on a GPU."""

    def __post_init__(self) -> None:
        images = self.options.task is Kind.IMAGES
        if not self.named and images:
            raise UserError(
                "--images: expected a data set with normals, --with NAME=DATASET, found none; generate one: "
                "--defect good"
            )
        if not self.named and not self.options.copy_paste:
            raise UserError("--with: expected a data set to prove, NAME=DATASET, found none, nor copy-paste")
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers: expected 1 or more, found {self.workers}")
        if self.device not in ("cpu", "cuda"):
            raise UserError(f"--device: expected cpu or cuda, found {self.device!r}")

    def inputs(self) -> dict[str, Path | None]:
        """Return what is read, by what it is called."""
        return {"the product": self.directory, **{f"the data set {n}": p for n, p in self.named.items()}}

    def described(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        return {
            **self.options.to_dict(),
            "photographs": self.photographs.to_dict(),
            "sets": {name: str(path) for name, path in self.named.items()},
            "device": self.device,
        }
