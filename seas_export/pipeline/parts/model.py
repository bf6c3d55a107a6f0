"""A model of a build: a checkpoint and what follows from it, each a part with a place of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seas_export.verdict.files import VERDICT_FILE

MASK_SCORES_FILE = "mask_scores.json"


@dataclass(frozen=True)
class Model:
    """Where a model's files lie, and what its parts are called."""

    folder: Path
    trained: str = "train"
    """The part that makes its checkpoint."""
    of: str = ""
    """What its other parts' names end with."""

    def part(self, name: str) -> str:
        """What one of its parts is called in the record."""
        return name + self.of

    @property
    def checkpoint(self) -> Path:
        """The folder that training makes."""
        return self.folder / "checkpoint"

    @property
    def training(self) -> Path:
        """The folder of training's states, losses and previews."""
        return self.folder / "training"

    @property
    def scores(self) -> Path:
        """The file of mask scores."""
        return self.folder / MASK_SCORES_FILE

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.folder / "bundle"

    @property
    def verdict(self) -> Path:
        """The file of verdicts."""
        return self.folder / VERDICT_FILE

    def places(self) -> dict[str, tuple[Path, ...]]:
        """What its parts make, by their names."""
        return {
            self.trained: (self.checkpoint, self.training),
            self.part("evaluate"): (self.scores,),
            self.part("export"): (self.bundle,),
            self.part("verdict"): (self.verdict,),
        }
