"""What a job asks for, as it lies in the queue, and the request of the generation that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_runtime.errors import UserError
from seas_runtime.methods.request import Placing, Sampling
from seas_runtime.methods.table import find_method
from seas_runtime.placement.options import ANYWHERE, AUTO, FOREGROUND, PlacementOptions

if TYPE_CHECKING:
    from seas_runtime.bundle.reading import Bundle
    from seas_runtime.dataset.folder import DatasetRequest

BUNDLE, NOISE = "bundle", "noise"
WHERE = (AUTO, FOREGROUND, ANYWHERE)
"""Those of `--where` that name no file."""
ONTO_FOLDER, LEGAL_NAME = "onto", "legal.png"
"""In a job's folder: the photographs that it draws into, as they were, and its legal area."""


@dataclass(frozen=True)
class Asked:
    """JSON values alone."""

    bundle: str
    """Fingerprint."""
    defects: tuple[str, ...]
    count: int = 8
    seed: int = 0
    batch: int = 1
    onto: str = AUTO
    """`auto`, `bundle` (the photographs in it), `noise` (whole pictures), or a set of photographs."""
    where: str = AUTO
    per_picture: tuple[int, int] = (1, 1)
    per_background: tuple[int, int] | None = None
    """Placements in a row on one photograph, and pairs in a row of each; None for all anew."""
    legal: bool = False
    """Whether there is a legal area in the job's folder."""
    sampler: str | None = None
    steps: int | None = None
    guidance: float | None = None
    tau: float | None = None
    strength: float | None = None
    mask_steps: int | None = None
    oversample: float = 1.0
    gate: bool = True

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Asked:
        """Read what `to_dict` wrote; names of later versions are passed over."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        given["defects"] = tuple(given["defects"])
        given["per_picture"] = tuple(given.get("per_picture", (1, 1)))
        if given.get("per_background") is not None:
            given["per_background"] = tuple(given["per_background"])
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @property
    def of_a_set(self) -> bool:
        """Whether it draws into a set of photographs that were uploaded."""
        return self.onto not in (AUTO, BUNDLE, NOISE)

    def request(self, bundle: Bundle, folder: Path) -> DatasetRequest:
        """Return what the generation is asked; UserError for what cannot be, as its own commands say it."""
        from seas_runtime.dataset.folder import DatasetRequest

        own = {"strength": self.strength, "mask_steps": self.mask_steps}
        given = {name: value for name, value in own.items() if value is not None}
        return DatasetRequest(
            defects=self.defects,
            count=self.count,
            seed=self.seed,
            batch=self.batch,
            sampling=Sampling(self.sampler, self.steps, self.guidance, self.tau, self.gate),
            options=find_method(bundle.manifest.method).make_options(given),
            placing=self._placing(bundle, folder),
            oversample=self.oversample,
        )

    def _placing(self, bundle: Bundle, folder: Path) -> Placing | None:
        from seas_runtime.generation.placing.defaults import by_method, has_photographs, needs_photographs

        if self.where not in WHERE:
            raise UserError(f"where: expected one of {', '.join(WHERE)}, found {self.where!r}")
        placement = PlacementOptions(
            source=AUTO,
            where=self.where,
            per_picture=self.per_picture,
            per_background=self.per_background,
            legal=str(folder / LEGAL_NAME) if self.legal else None,
        )
        draws = needs_photographs(bundle) or has_photographs(bundle)
        if self.onto == NOISE or (self.onto == AUTO and not draws):
            if placement != PlacementOptions(source=AUTO):
                raise UserError(
                    "where: places are of pairs that are drawn into photographs; upload some and name their "
                    "set in `onto`, or leave it out"
                )
            return None
        if not self.of_a_set and not bundle.backgrounds:
            raise UserError(
                "onto: this bundle carries no photographs; upload normal ones and name their set, or ask for "
                "whole pictures with `noise`"
            )
        return by_method(Placing(placement), find_method(bundle.manifest.method))


def check_asked(asked: Asked, bundle: Bundle, folder: Path) -> int:
    """Check a job against its bundle before it is queued; return how many pairs it makes in all."""
    from seas_runtime.dataset.folder import ALL
    from seas_runtime.generation.resolve import find_name, resolve
    from seas_runtime.manifest.types import GOOD
    from seas_runtime.methods.placed.score import FEATURES

    request = asked.request(bundle, folder)
    wanted = {find_name(bundle.manifest, name, request.options, ALL) for name in request.defects}
    resolve(request.of(GOOD), bundle)
    if request.oversample > 1 and (request.placing is None or FEATURES not in bundle.tables):
        raise UserError("oversample: this bundle gives pairs no score to keep the best by; leave it out")
    names = {*bundle.manifest.defects, GOOD} if ALL in wanted else wanted
    return sum(request.candidates(name) for name in names)
