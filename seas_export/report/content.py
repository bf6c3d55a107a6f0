"""What a report shows, gathered and ready to lay out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seas_export.report.images import Pixels
from seas_export.verdict import Verdict


@dataclass(frozen=True)
class Picture:
    """An image, uint8 [H, W, 3], its mask, uint8 [H, W] or None for a normal, and a caption.

    Where the image is a region of a photograph, `whole` [H', W', 3] shows the photograph with the region
    marked. Of a placed pair `before` shows what was drawn into, with the placement marked, if it is at hand.
    """

    image: Pixels
    mask: Pixels | None
    caption: str
    whole: Pixels | None = None
    before: Pixels | None = None


@dataclass(frozen=True)
class DefectPictures:
    """A defect's training pairs and its generated pairs."""

    name: str
    real: tuple[Picture, ...]
    generated: tuple[Picture, ...]


@dataclass(frozen=True)
class GateCounts:
    """Of one defect, or of the normals: pairs asked for, accepted at the first try, at a later one, never.

    reasons: how often each gate rejected an attempt. counted: False where the pairs are set aside, as those
    of a defect that is not usable. score: the accepted pairs' median, None where they have none. left_out:
    accepted ones that are not kept, as others have a better score.
    """

    name: str
    pairs: int
    first_try: int
    retried: int
    given_up: int
    reasons: Mapping[str, int]
    counted: bool = True
    score: float | None = None
    left_out: int = 0

    @property
    def kept(self) -> int:
        """Pairs that have files."""
        return self.pairs - self.given_up - self.left_out


@dataclass(frozen=True)
class Latency:
    """Seconds per pair, from the records of the data set: the whole and the mean of each part."""

    pairs: int
    batch: int
    median: float
    p95: float
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Curve:
    """One loss over the steps of a stage."""

    stage: str
    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class MaskScores:
    """The mask head on pairs and normals that did not train.

    defects: name -> pairs, and IoU, precision and recall, pooled over pixels. normals: how many were tried;
    empty_normals: how many of them got an empty mask. regions: whether on a region of each.
    """

    defects: Mapping[str, Mapping[str, float]]
    normals: int
    empty_normals: int
    regions: bool = False


@dataclass(frozen=True)
class Table:
    """A table as it is shown; every row as long as the columns. `failed`: indices of rows to mark."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    failed: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Proven:
    """What the pairs are worth to a segmenter: how it was measured, a table, sentences, and notes."""

    words: str
    table: Table
    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """The whole report."""

    product: str
    subtitle: str
    defects: tuple[DefectPictures, ...]
    real_normals: tuple[Picture, ...]
    generated_normals: tuple[Picture, ...]
    made: str = ""
    """How pairs were made and what their masks are, in a sentence or two."""
    verdicts: tuple[Verdict, ...] = ()
    curves: tuple[Curve, ...] = ()
    latency: Latency | None = None
    gates: tuple[GateCounts, ...] = ()
    parity: Sequence[Table] = ()
    mask_scores: MaskScores | None = None
    proven: Proven | None = None
    timings: tuple[tuple[str, str, float], ...] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def parts_of(times: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean seconds per pair in each graph, and in none of them (`rest`), from records' `times`."""
    count = max(len(times), 1)
    names = [name for name in (times[0] if times else ()) if name != "total"]
    parts = {name: sum(entry[name] for entry in times) / count for name in names}
    parts["rest"] = max(0.0, sum(entry["total"] for entry in times) / count - sum(parts.values()))
    return parts
