"""A product: its photographs, split and described, and what is seen of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.placement.regions import Region, resize_mask, resize_pixels
from seas_train.data.images import Preprocessing
from seas_train.data.images.fit import fit_foreground, fit_image, read_pixels
from seas_train.data.images.preprocessing import Resize
from seas_train.data.layouts import Layout, Pair
from seas_train.data.masks.read import read_foreground
from seas_train.data.names import match_key, shown_label
from seas_train.data.regions import RegionPlan, View
from seas_train.data.report import ProductReport


@dataclass(frozen=True)
class Defect:
    """One anomaly type."""

    name: str
    """Safe as folder and token."""
    train: tuple[Pair, ...]
    test: tuple[Pair, ...]
    label: str = ""
    """The product's own spelling of the name."""


@dataclass(frozen=True)
class Product:
    """A product that can be trained on."""

    name: str
    root: Path
    layout: Layout
    preprocessing: Preprocessing
    normals: tuple[Path, ...]
    """Those that train."""
    test_normals: tuple[Path, ...]
    defects: tuple[Defect, ...]
    """Sorted by name."""
    report: ProductReport
    fingerprint: str
    """SHA-256 over the contents of the files that train, the split and the preprocessing; places and names of
    files do not change it."""
    regions: RegionPlan | None = None
    """None for whole pictures."""

    @property
    def label(self) -> str:
        """The name as it is shown: its folder's own spelling."""
        return shown_label(self.root.name) or self.name

    @property
    def labels(self) -> dict[str, str]:
        """Defects' own spellings by name, where more than the case is another."""
        shown = {defect.name: shown_label(defect.label) for defect in self.defects}
        for name, label in shown.items():
            if list(shown.values()).count(label) > 1:  # differ in Unicode composition alone
                shown[name] = f"{label} ({name})"
        return {name: label for name, label in shown.items() if match_key(label) not in ("", match_key(name))}

    def described(self) -> dict[str, Any]:
        """Return what a checkpoint says of the photographs that trained it, as JSON values."""
        return {
            "product": self.name,
            **self.spellings(),
            "preprocessing": self.preprocessing.to_dict(),
            **self.seen_as,
            "layout": self.layout.value,
            "data_fingerprint": self.fingerprint,
            "normals": len(self.normals),
            "shots": {defect.name: len(defect.train) for defect in self.defects},
        }

    def spellings(self) -> dict[str, Any]:
        """Return what a checkpoint says of labels: nothing where all names are as they are shown."""
        label = {} if self.label == self.name else {"product_label": self.label}
        return {**label, **({"labels": self.labels} if self.labels else {})}

    @property
    def seen_as(self) -> dict[str, Any]:
        """What a checkpoint says of how it was seen: nothing where it was trained on whole pictures."""
        return {} if self.regions is None else {"regions": self.regions.options.to_dict()}

    def pair_views(self, pair: Pair) -> tuple[View, ...]:
        """What is trained on of a training pair."""
        return self._views(pair.image, () if self.regions is None else self.regions.of_pair(pair))

    def normal_views(self, path: Path) -> tuple[View, ...]:
        """What is trained on of a training normal."""
        return self._views(path, () if self.regions is None else self.regions.of_normal(path))

    def judged_pair(self, pair: Pair, seed: int) -> View:
        """What masks are judged on of a held-out pair; a region lies around its defect by the seed."""
        return View(pair.image, None if self.regions is None else self.regions.judged_pair(pair, seed))

    def judged_normal(self, path: Path, seed: int) -> View:
        """What masks are judged on of a held-out normal."""
        return View(path, None if self.regions is None else self.regions.judged_normal(path, seed))

    def image(self, path: Path, region: Region | None = None) -> NDArray[np.uint8]:
        """Read a photograph of the product, whole and fitted, or a region of it: uint8 [size, size, 3]."""
        return self.seen(self.photograph(path), region)

    def mask(self, pair: Pair, region: Region | None = None) -> NDArray[np.bool_]:
        """Read a pair's mask as its image is seen: bool [size, size], True on the defect."""
        return self.seen_mask(self.marking(pair), region)

    def photograph(self, path: Path) -> Image.Image:
        """Read a photograph, upright, at its own resolution, as 8-bit RGB."""
        return read_pixels(path, self.preprocessing)

    def seen(self, photograph: Image.Image, region: Region | None) -> NDArray[np.uint8]:
        """Return a region of a photograph, or all of it, fitted: uint8 [size, size, 3]."""
        if region is None:
            return fit_image(photograph, self.preprocessing)
        window, size = region.cut(np.asarray(photograph)), self.preprocessing.size
        if self.preprocessing.resize is Resize.BILINEAR:
            return np.array(Image.fromarray(window).resize((size, size), Image.Resampling.BILINEAR))
        return np.array(resize_pixels(window, size))

    def marking(self, pair: Pair) -> Image.Image:
        """Read a pair's mask on the pixels of its photograph: mode L, 255 on the defect, else 0."""
        return read_foreground(pair.mask, self.preprocessing, image=pair.image)

    def seen_mask(self, marking: Image.Image, region: Region | None) -> NDArray[np.bool_]:
        """Return what of a mask is seen in a region, or in all, fitted: bool [size, size].

        All that is marked in a region counts, of whatever part of the mask.
        """
        if region is None:
            return fit_foreground(marking, self.preprocessing)
        return resize_mask(region.cut(np.asarray(marking)) > 0, self.preprocessing.size)

    def _views(self, path: Path, regions: Sequence[Region]) -> tuple[View, ...]:
        return tuple(View(path, region) for region in regions) or (View(path),)
