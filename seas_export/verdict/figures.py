"""The figures that a verdict follows from. A method has those that it can measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Scores:
    """Masks of held-out pairs of one defect, beside the real ones."""

    pairs: int
    """0 where none was held out; the others say nothing then."""
    iou: float = 0.0
    """Pooled over pixels, 0 to 1."""
    area: float = 0.0
    """The defect's share of the pictures, or regions, 0 to 1: the IoU of a mask that marks everything."""
    regions: bool = False
    """Whether a region around each defect was judged, not the whole picture."""
    laid: bool = False
    """Whether pairs start from the looks of real defects: where the head finds too little of what was laid,
    the placement is the mask."""

    @property
    def judged(self) -> str:
        """What was judged, in words."""
        return f"{'regions of ' if self.regions else ''}{self.pairs} held-out pairs"

    @property
    def over_chance(self) -> float:
        """The IoU with 0 for a mask that marks everything, and 1 for the real one."""
        return (self.iou - self.area) / (1 - self.area) if self.area < 1 else 0.0


@dataclass(frozen=True)
class Normals:
    """Held-out normals, and how many of them got an empty mask."""

    images: int
    empty: int
    regions: bool = False
    """Whether a region of each was judged, not the whole picture."""

    @property
    def marked(self) -> str:
        """In how many of them something was marked, in words."""
        return f"{'regions of ' if self.regions else ''}{self.images - self.empty} of {self.images}"


@dataclass(frozen=True)
class PromptEffect:
    """How a defect's prompt changes pictures, of the same noise, from those of the normal's prompt.

    Changes are mean absolute differences of pixels, in levels of 255, where the picture changes most.
    """

    pairs: int
    by_prompt: float
    by_noise: float
    """Between pictures of the normal's prompt with different noise."""

    @property
    def ratio(self) -> float:
        """The prompt's change over the noise's."""
        return self.by_prompt / self.by_noise if self.by_noise > 0 else 0.0


@dataclass(frozen=True)
class Figures:
    """What was measured of one defect; None for what its method cannot measure."""

    masks: Scores | None = None
    normals: Normals | None = None
    prompt: PromptEffect | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Figures:
        """Return what `to_dict` gave."""
        kinds = {"masks": Scores, "normals": Normals, "prompt": PromptEffect}
        return cls(**{name: kind(**values[name]) for name, kind in kinds.items() if values.get(name)})
