"""Evaluates the pictures of a data set against a product's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seas_export.proof.evaluate.features import networks
from seas_export.proof.evaluate.figures import mask_figures, picture_figures, surface_figures
from seas_export.proof.evaluate.seen import MOST, generated, real
from seas_runtime.dataset.formats.finished import FinishedDataset, read_finished
from seas_runtime.dataset.layout import RECORDS_NAME
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD
from seas_train.data import PhotographsConfig

NOT_MEASURED = "not measured"
FEW = "too few pictures"


@dataclass(frozen=True)
class Evaluation:
    """By kind, the figures of pictures, masks and acceptance; what is not measured, and which weights were
    used."""

    dataset: Path
    product: str
    kinds: dict[str, dict[str, Any]]
    missing: tuple[str, ...]
    weights: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "dataset": str(self.dataset),
            "product": self.product,
            "kinds": self.kinds,
            "not measured": list(self.missing),
            "weights": self.weights,
        }

    def columns(self) -> list[str]:
        """Return the names of all figures of pictures."""
        return list(dict.fromkeys(name for kind in self.kinds.values() for name in kind["figures"]))

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each kind: pictures, what was accepted, figures, the masks' size, the grain."""
        made = []
        for name, kind in self.kinds.items():
            figures = [_cell(kind["figures"], column) for column in self.columns()]
            accepted = NOT_MEASURED if kind["accepted"] is None else f"{100 * kind['accepted']:.0f} %"
            made.append(
                (
                    name,
                    str(kind["pictures"]),
                    accepted,
                    *figures,
                    _sizes(kind["masks"]),
                    _grain(kind["surface"]),
                )
            )
        return made


def evaluate(
    dataset: Path,
    product_folder: Path,
    photographs: PhotographsConfig,
    size: int,
    weights: Path | None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Evaluation:
    """Evaluate a data set that `generate` wrote, kind by kind; pictures are seen at `size` pixels.

    Raises UserError for a data set or a product that cannot be used, or weights that are none.
    """
    from seas_train.data import load_product
    from seas_train.proof.pictures import Pictures

    finished = read_finished(dataset)
    product = load_product(product_folder, photographs, size=size)
    known = [*(defect.name for defect in product.defects), GOOD]
    kinds = [kind for kind in known if any(picture.defect == kind for picture in finished.pictures)]
    if not kinds:
        names = ", ".join(sorted({picture.defect for picture in finished.pictures}))
        raise UserError(
            f"--real {product_folder}: expected the product of the data set, with a defect of its ({names}), "
            f"found {', '.join(known)}"
        )
    found, missing = networks(weights)
    pictures = Pictures(product.preprocessing)
    accepted = _accepted(finished)
    results: dict[str, dict[str, Any]] = {}
    for number, kind in enumerate(kinds):
        progress(number, len(kinds))
        made = generated(finished, product, pictures, kind)
        training, everything = (real(product, kind, training=training) for training in (True, False))
        figures: dict[str, float | None] = {}
        for network in found:
            figures |= picture_figures(network, made, everything, training)
        sides = {"generated": made, "real": everything}
        masks = {side: mask_figures(seen.whole_masks) for side, seen in sides.items()}
        surface = {side: surface_figures(seen) for side, seen in sides.items() if kind != GOOD}
        results[kind] = {
            "pictures": len(made.pictures),
            "real pictures": len(everything.pictures),
            "training pictures": len(training.pictures),
            "accepted": accepted.get(kind),
            "figures": figures,
            "masks": None if kind == GOOD else masks,
            "surface": surface or None,
        }
    progress(len(kinds), len(kinds))
    if any(kind["pictures"] == MOST for kind in results.values()):
        missing.append(f"of kinds with more than {MOST} pictures the first {MOST} are evaluated")
    files = {name: digest for network in found for name, digest in network.weights.items()}
    return Evaluation(dataset, product.name, results, tuple(missing), files)


def _accepted(dataset: FinishedDataset) -> dict[str, float]:
    """Return the share of pairs that passed the gates, by kind."""
    records = RecordFile(dataset.path / RECORDS_NAME)
    records.load()
    found: dict[str, list[bool]] = {}
    for record in records.records():
        found.setdefault(record["defect"], []).append(bool(record["accepted"]))
    return {kind: float(np.mean(passed)) for kind, passed in found.items()}


def _cell(figures: dict[str, float | None], column: str) -> str:
    if column not in figures:
        return "-"
    value = figures[column]
    return FEW if value is None else f"{value:.3f}"


def _sizes(masks: dict[str, Any] | None) -> str:
    """Say how large masks are: medians, in per cent of their pictures."""
    if masks is None:
        return "-"
    shares = [masks[side]["share"] for side in ("generated", "real")]
    return " / ".join(NOT_MEASURED if share is None else f"{100 * share[1]:.2f} %" for share in shares)


def _grain(surface: dict[str, Any] | None) -> str:
    """Say how much grain defects have by what is around them: medians."""
    if surface is None:
        return "-"
    grains = [surface[side]["grain"] for side in ("generated", "real")]
    return " / ".join(NOT_MEASURED if grain is None else f"{grain[1]:.2f}" for grain in grains)
