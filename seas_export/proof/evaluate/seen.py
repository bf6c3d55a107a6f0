"""Generated and real pictures of a kind, seen alike: whole, or the regions that the base sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.dataset.contact_sheet import region_of
from seas_runtime.dataset.formats.finished import FinishedDataset
from seas_runtime.dataset.layout import RECORDS_NAME
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.manifest.types import GOOD
from seas_runtime.placement.morphology import BoolArray, box_of
from seas_runtime.placement.regions import Region

if TYPE_CHECKING:
    from seas_train.data import Product
    from seas_train.proof.pictures import Pictures

MOST = 200
"""Pictures of a kind that are compared at most, each side: distances grow with their square."""
MARGIN = 0.1
"""Of its longer side, kept around a defect that is looked at alone."""
_SEED = 0  # where the regions of real pairs lie

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Seen:
    """Pictures of one kind: uint8 [S, S, 3] each, and the masks on them, bool [S, S]; none of normals.

    shares: of each picture's mask in its whole photograph or picture.
    """

    pictures: tuple[UInt8Array, ...]
    masks: tuple[BoolArray, ...] = ()
    whole_masks: tuple[BoolArray, ...] = ()
    """As large as their photographs."""

    def alone(self) -> tuple[UInt8Array, ...]:
        """Return the defects alone: the box of each mask, black beside the mask."""
        pairs = zip(self.pictures, self.masks, strict=True)
        return tuple(_alone(picture, mask) for picture, mask in pairs if mask.any())


def generated(dataset: FinishedDataset, product: Product, pictures: Pictures, kind: str) -> Seen:
    """Return the generated pictures of a defect, or of `good`."""
    from seas_train.proof.pictures import Sample

    records = RecordFile(dataset.path / RECORDS_NAME)
    records.load()
    regions = {f"{r['defect']}_{r['index']:06d}": region_of(r) for r in records.records()}
    whole = "placing" not in dataset.description
    made, masks, large = [], [], []
    for one in [picture for picture in dataset.pictures if picture.defect == kind][:MOST]:
        sample = Sample(one.image, one.mask, one.defect, ready=whole)
        image, mask = pictures.read(sample)
        region = regions[one.name]
        made.append(product.seen(Image.fromarray(image), region))
        if kind != GOOD:
            masks.append(product.seen_mask(Image.fromarray(mask.astype(np.uint8) * 255), region))
            large.append(mask)
    return Seen(tuple(made), tuple(masks), tuple(large))


def real(product: Product, kind: str, *, training: bool) -> Seen:
    """Return the real pictures of a kind: those that train, or all. Of pairs with regions, the regions that
    masks are judged on; whole otherwise."""
    if kind == GOOD:
        paths = product.normals if training else (*product.normals, *product.test_normals)
        return Seen(tuple(product.image(path, _normal_region(product, path)) for path in paths[:MOST]))
    defect = next(defect for defect in product.defects if defect.name == kind)
    pairs = defect.train if training else (*defect.train, *defect.test)
    made, masks, large = [], [], []
    for pair in pairs[:MOST]:
        region = product.judged_pair(pair, _SEED).region
        marking = product.marking(pair)
        made.append(product.image(pair.image, region))
        masks.append(product.seen_mask(marking, region))
        large.append(np.asarray(marking) > 0)
    return Seen(tuple(made), tuple(masks), tuple(large))


def _normal_region(product: Product, path: Path) -> Region | None:
    return product.judged_normal(path, _SEED).region


def _alone(picture: UInt8Array, mask: BoolArray) -> UInt8Array:
    top, left, bottom, right = box_of(mask)
    spare = round(MARGIN * max(bottom - top, right - left))
    here = np.s_[max(0, top - spare) : bottom + spare, max(0, left - spare) : right + spare]
    cut = np.where(mask[..., None], picture, np.uint8(0))[here]
    side = max(cut.shape[:2])
    made = np.zeros((side, side, 3), np.uint8)
    row, column = ((side - length) // 2 for length in cut.shape[:2])
    made[row : row + cut.shape[0], column : column + cut.shape[1]] = cut
    return made


def augmented(pictures: Sequence[UInt8Array]) -> list[UInt8Array]:
    """Return each picture [S, S, 3] a little changed: mirrored, brighter, turned by five degrees, shifted by
    a twentieth. What differs from a training picture by less than these is a copy of it."""
    made = []
    for picture in pictures:
        made.append(np.ascontiguousarray(picture[:, ::-1]))
        made.append(np.clip(picture.astype(np.int16) + 12, 0, 255).astype(np.uint8))
        turned = Image.fromarray(picture).rotate(5, Image.Resampling.BICUBIC)
        made.append(np.asarray(turned))
        made.append(np.roll(picture, picture.shape[0] // 20, axis=(0, 1)))
    return made
