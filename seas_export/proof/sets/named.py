"""The data sets that are proved: what `generate` wrote, or a folder of pairs of another tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from PIL import Image

from seas_export.proof.sets.held_out import rescaled, weak_files
from seas_runtime.dataset.formats.finished import read_finished
from seas_runtime.dataset.layout import DATASET_NAME, RECORDS_NAME
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_runtime.manifest.fields import is_safe_name
from seas_runtime.manifest.types import GOOD
from seas_train.data.images import Fit

if TYPE_CHECKING:
    from seas_train.data import Product
    from seas_train.proof.pictures import Sample

SAME_SIZE = 0.1
"""Sets whose pictures are larger or smaller than the photographs by less than that are not rescaled."""
RESERVED = ("real", "copy-paste")


@dataclass(frozen=True)
class NamedSet:
    """A data set by the name that the tables give it."""

    name: str
    path: Path
    pairs: tuple[Sample, ...]
    normals: tuple[Sample, ...]
    warnings: tuple[str, ...] = ()

    def per_defect(self) -> int:
        """Return how many pairs of a defect there are, in the mean."""
        return max(1, round(len(self.pairs) / len({pair.defect for pair in self.pairs})))


def parse_named(words: Sequence[str]) -> dict[str, Path]:
    """Return the data sets of `--with NAME=DATASET`; UserError for one that is none."""
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not path or not is_safe_name(name) or name in RESERVED or name in found:
            raise UserError(
                f"--with {word}: expected NAME=DATASET, with a name of its own such as placed=out/dataset, "
                "letters, digits, - and _, and none of: " + ", ".join((*RESERVED, *found))
            )
        found[name] = Path(path).expanduser()
    return found


def read_named(
    name: str,
    path: Path,
    product: Product,
    scale: float,
    tested: Sequence[Sample],
    *,
    normals_do: bool = False,
) -> NamedSet:
    """Read a data set's pairs and normals; `scale` is that of the photographs.

    Warns where its pictures or the photographs that defects were drawn into are among those `tested`. Raises
    UserError where there is no data set, or nothing of this product's defects in it; with `normals_do` one
    of normals alone is taken.
    """
    if not path.is_dir():
        raise UserError(f"--with {name}={path}: expected a data set's folder, found no such folder")
    ours = (path / DATASET_NAME).is_file()
    pairs, normals = _generated(path) if ours else _foreign(path, product, normals_do)
    known = {defect.name for defect in product.defects}
    own = [pair for pair in pairs if pair.defect in known]
    if not own and not (normals_do and normals and not pairs):
        names = ", ".join(sorted({pair.defect for pair in pairs})) or "no pairs"
        raise UserError(
            f"--with {name}={path}: expected pairs of {product.name}'s defects, {', '.join(sorted(known))}, "
            f"found {names}"
        )
    factor = scale * _size_factor(product, [*own, *normals])
    warnings = [f"{name}: {len(pairs) - len(own)} pairs of other defects are left out"]
    warnings = warnings if len(own) < len(pairs) else []
    if weak := sum(pair.weak for pair in own):
        warnings.append(
            f"{name}: {weak} of its masks are boxes: pixels in them that a segmenter holds for normal count "
            "nothing"
        )
    hashes = {sha256_file(sample.image) for sample in tested}
    if copies := sum(sha256_file(sample.image) in hashes for sample in (*own, *normals)):
        warnings.append(
            f"{name}: {copies} of its pictures are photographs that are tested on: its figures are a "
            "ceiling, and prove nothing"
        )
    if ours and (drawn := _drawn_into(path, hashes)):
        warnings.append(
            f"{name}: {drawn} of its pairs are drawn into photographs that are tested on; generate "
            "--onto the training photographs"
        )
    return NamedSet(name, path, rescaled(own, factor), rescaled(normals, factor), tuple(warnings))


def _generated(path: Path) -> tuple[list[Sample], list[Sample]]:
    """Read a data set that `generate` wrote."""
    from seas_train.proof.pictures import Sample

    found = read_finished(path)
    whole = "placing" not in found.description  # their values are the base's; placed pairs' the photograph's
    samples = [Sample(one.image, one.mask, one.defect, ready=whole, weak=one.weak) for one in found.pictures]
    return [s for s in samples if s.defect != GOOD], [s for s in samples if s.defect == GOOD]


def _foreign(path: Path, product: Product, normals_do: bool) -> tuple[list[Sample], list[Sample]]:
    """Read a folder in a product's layout: all of it trains."""
    from seas_train.data import PhotographsConfig, load_product
    from seas_train.proof.pictures import Sample

    everything = 1_000_000
    config = PhotographsConfig(fit=Fit.PAD, shots=everything, normals=everything)
    try:
        found = load_product(path, config, size=product.preprocessing.size, defects_needed=not normals_do)
    except UserError as error:
        if "expected at least one normal" not in str(error):
            raise
        raise UserError(
            f"{path}: expected normals in train/good beside the pairs, as a product has them, found none; "
            "link some of the product's own there"
        ) from None
    weak = weak_files(path)
    pairs = [
        Sample(pair.image, pair.mask, one.name, weak=pair.mask.resolve() in weak)
        for one in found.defects
        for pair in one.train
    ]
    return pairs, [Sample(normal) for normal in (*found.normals, *found.test_normals)]


def _size_factor(product: Product, samples: Sequence[Sample]) -> float:
    """Return by how much pictures are smaller than photographs: whole pictures have the base's size."""
    photographs = [pair.image for defect in product.defects for pair in defect.train]
    theirs, ours = (_shorter(paths) for paths in ([s.image for s in samples], photographs))
    return 1.0 if abs(ours / theirs - 1) < SAME_SIZE else ours / theirs


def _shorter(paths: Sequence[Path]) -> float:
    sides = []
    for path in paths:
        with Image.open(path) as opened:
            sides.append(min(opened.size))
    return float(median(sides))


def _drawn_into(path: Path, hashes: set[str]) -> int:
    records = RecordFile(path / RECORDS_NAME)
    records.load()
    return sum(record.get("photograph_sha256") in hashes for record in records.records())
