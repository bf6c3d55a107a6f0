"""Quality against steps, samplers and masks, for a line to choose from: `bench --quality`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.machine.bench import check_results
from seas_export.machine.machine import Machine, describe_machine
from seas_export.placing.choice import AUTO, choose_placing, in_words
from seas_export.quality.pairs import PAIRS, Compared, Made, Quality, Way, make_pairs
from seas_export.version import version
from seas_runtime.files import os_errors, write_json
from seas_runtime.generation.records import MAX_COUNT
from seas_runtime.manifest.fields import check_integer
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.request import Placing
from seas_runtime.placement.options import PlacementOptions

if TYPE_CHECKING:
    from seas_runtime.generation.generator import Generator

COLUMNS = ("sampler, steps", "first try", "score", "spread", "PSNR", "mask IoU", "s/pair")
_FILE = "quality.json"


@dataclass(frozen=True)
class QualityRow:
    """One way with its figures."""

    way: Way
    quality: Quality
    compared: Compared | None
    """None of the reference itself."""


@dataclass(frozen=True)
class QualityResult:
    """Quality against steps and samplers, of one bundle on one machine."""

    version: str
    bundle: str
    product: str
    fingerprint: str
    backend: str
    placed: bool
    defects: tuple[str, ...]
    pairs: int
    """Of each defect."""
    seed: int
    rows: tuple[QualityRow, ...]
    """The reference first."""
    machine: Machine

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def table(self) -> list[tuple[object, ...]]:
        """A row of each way, of `COLUMNS`."""
        rows: list[tuple[object, ...]] = []
        for row in self.rows:
            found, compared = row.quality, row.compared or Compared(0, None, None)
            rows.append(
                (
                    row.way.in_words(),
                    f"{found.first_try:.0%}",
                    *("-" if value is None else f"{value:.3f}" for value in (found.score, found.spread)),
                    "-" if compared.psnr is None else f"{compared.psnr:.1f} dB",
                    "-" if compared.mask_iou is None else f"{compared.mask_iou:.3f}",
                    f"{found.seconds:.3f}",
                )
            )
        return rows


def ways_of(generator: Generator) -> tuple[Way, ...]:
    """Every schedule of a bundle, the one of most steps of its own sampler first: the reference.

    Where the bundle's method averages masks, its own schedule with fewer of them too.
    """
    own = generator.bundle.schedule()
    schedules = sorted(
        generator.bundle.schedules.values(),
        key=lambda one: (one.sampler != own.sampler, one.sampler, -one.steps),
    )
    masks = generator.manifest.generation.get("mask_steps", 1)
    fewer = [Way(own.sampler, own.steps, number) for number in range(masks - 1, 0, -1)]
    return (*(Way(schedule.sampler, schedule.steps) for schedule in schedules), *fewer)


def measure_quality(
    generator: Generator,
    *,
    pairs: int = PAIRS,
    defects: Sequence[str] = (),
    seed: int = 0,
    batch: int = 4,
    onto: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> QualityResult:
    """Make the same pairs in every way that the bundle knows, and compare them.

    defects: all of the bundle's by default, of a bundle without any its normals. onto: a folder of
    photographs to draw into; None draws into the bundle's, or makes whole pictures, as `generate` does.

    Raises UserError for an option that the bundle has not.
    """
    check_integer("pairs", pairs, 1, MAX_COUNT)
    manifest = generator.manifest
    placing = choose_placing(generator, AUTO, onto, Placing(PlacementOptions(source=AUTO)))
    say(in_words(generator, placing))
    chosen = tuple(defects or manifest.defects or (GOOD,))
    for defect in chosen:
        generator.request(defect, seed, placing=placing)  # what is not there is refused before the work
    rows: list[QualityRow] = []
    reference: Made | None = None
    for way in ways_of(generator):
        made = make_pairs(generator, way, chosen, pairs=pairs, seed=seed, batch=batch, placing=placing)
        rows.append(QualityRow(way, made.quality, None if reference is None else made.against(reference)))
        say(f"{way.in_words()}: {made.quality.seconds:.3f} s a pair")
        reference = reference or made
    return QualityResult(
        version=version(),
        bundle=str(generator.bundle.path),
        product=manifest.shown_product,
        fingerprint=generator.bundle.fingerprint,
        backend=generator.backend.name,
        placed=placing is not None,
        defects=chosen,
        pairs=pairs,
        seed=seed,
        rows=tuple(rows),
        machine=describe_machine(),
    )


def check_quality(bundle: Path, out: Path) -> None:
    """Refuse, before measuring, a folder whose quality.json is another's, or the bundle's."""
    keys = {"rows", "placed", "fingerprint", "pairs"}
    check_results(bundle, out, (_FILE,), keys, "what bench --quality wrote")


def write_quality(result: QualityResult, out: Path) -> Path:
    """Write quality.json into `out`."""
    with os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_json(out / _FILE, result.to_dict())
    return out / _FILE
