"""What is asked for: a defect, a seed, how to sample. Ranges are checked once, here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import check_integer, check_number, describe
from seas_runtime.methods.noise import MAX_SEED
from seas_runtime.placement.options import PlacementOptions


@dataclass(frozen=True)
class Sampling:
    """How pairs are sampled; None stands for the bundle's own. Raises UserError for a value out of range."""

    sampler: str | None = None
    steps: int | None = None
    guidance: float | None = None
    tau: float | None = None
    """Threshold on a mask's probability, 0 to 1."""
    gate: bool = True
    """Whether pairs are judged, and rejected ones tried again."""

    def __post_init__(self) -> None:
        if self.guidance is not None:
            check_number("guidance", self.guidance, 0.0, 100.0)
        if self.tau is not None:
            check_number("tau", self.tau, 0.0, 1.0)
        if self.steps is not None:
            check_integer("steps", self.steps, 1, 1000)


FEATHER, POISSON = "feather", "poisson"
BLENDS = (FEATHER, POISSON)
REFINED, PLACED = "refined", "placed"
MASKS = (REFINED, PLACED)


@dataclass(frozen=True)
class Placing:
    """How a defect is drawn into a photograph. Raises UserError for a value that there is not."""

    placement: PlacementOptions = field(default_factory=PlacementOptions)
    """Where, and in what shape."""
    blend: str = FEATHER
    """The way back into the photograph: `feather`, or `poisson`, which needs OpenCV."""
    mask: str | None = None
    """`refined`: what the method's mask head finds of the placement; `placed`: the placement itself. None for
    refined where the method measures masks."""

    def __post_init__(self) -> None:
        if self.blend not in BLENDS:
            raise UserError(f"--blend: expected one of {', '.join(BLENDS)}, found {describe(self.blend)}")
        if self.mask not in (None, *MASKS):
            raise UserError(f"--mask: expected one of {', '.join(MASKS)}, found {describe(self.mask)}")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; of the placement what is not by default."""
        return {"placement": self.placement.to_dict(), "blend": self.blend, "mask": self.mask}


@dataclass(frozen=True)
class Request:
    """What every pair of a request shares. Raises UserError for a seed out of range."""

    defect: str
    """One of the bundle's, or `good` for normals."""
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    options: Any = None
    """The method's own, None for its defaults."""
    placing: Placing | None = None
    """How defects are drawn into photographs; None for whole pictures."""

    def __post_init__(self) -> None:
        check_integer("seed", self.seed, 0, MAX_SEED)


def given_options(options: Any) -> dict[str, Any]:
    """Return the method's options that are given, as JSON values: None stands for the bundle's own."""
    values = {} if options is None else asdict(options)
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, eq=False)
class PlacedInputs:
    """What a pair is drawn into, as the model sees it: a region of a photograph at the bundle's size."""

    window: npt.NDArray[np.uint8]  # [S, S, 3], RGB
    mask: npt.NDArray[np.bool_]  # [S, S], where the defect is drawn
    start: npt.NDArray[np.uint8] | None = None
    """[S, S, 3], RGB: what a strength below 1 starts from in place of the window."""


@dataclass(frozen=True)
class PairRequest:
    """One pair of a request whose defaults are filled in."""

    request: Request
    index: int
    placed: PlacedInputs | None = None
    """None for a whole picture; a batch's pairs are placed all, or none."""
    observed: tuple[str, ...] = ()
    """Outputs of the last step that are handed back, the same for all pairs of a batch."""
