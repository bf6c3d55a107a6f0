"""The sets of pictures that are compared: real, with pasted pairs, with each data set, and that alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seas_export.proof.sets.copy_paste import Pasted
from seas_export.proof.sets.named import NamedSet

if TYPE_CHECKING:
    from seas_train.proof.crops import Sources
    from seas_train.proof.pictures import Sample

REAL, PASTED = "real", "real + copy-paste"
DRAWN = "normals alone"
"""Trained on anomalies that a segmenter such as DRAEM draws into normals, without any pair."""


@dataclass(frozen=True)
class Arm:
    """One set that segmenters are trained on, and the others that it is compared with."""

    name: str
    sources: Sources
    against: tuple[str, ...] = ()


def make_arms(
    pairs: tuple[Sample, ...],
    normals: tuple[Sample, ...],
    pasted: Pasted | None,
    named: Sequence[NamedSet],
    share: float,
    alone: bool,
    drawing: bool = False,
) -> list[Arm]:
    """Return the sets in the order of the table: real first.

    A data set alone has its own normals, and the product's where it has none. drawing: the segmenter draws
    anomalies itself, and is trained on these alone too.
    """
    from seas_train.proof.crops import Sources

    made = [Arm(REAL, Sources(pairs, normals, share=share), (DRAWN,) if drawing else ())]
    if drawing:
        made.append(Arm(DRAWN, Sources((), normals, share=share)))
    others: tuple[str, ...] = (REAL,)
    if pasted is not None:
        made.append(Arm(PASTED, Sources(pairs, normals, pasted.pairs, normals, share), (REAL,)))
        others = (REAL, PASTED)
    for one in named:
        sources = Sources(pairs, normals, one.pairs, one.normals, share)
        made.append(Arm(f"real + {one.name}", sources, others))
        drawn = (DRAWN,) if drawing else ()
        if alone:
            own = Sources((), () if one.normals else normals, one.pairs, one.normals, share)
            made.append(Arm(f"{one.name} alone", own, (REAL, *drawn)))
    return made
