"""How pairs are placed where nobody says: by the bundle, and by its method."""

from __future__ import annotations

from dataclasses import replace

from seas_runtime.bundle.reading import Bundle
from seas_runtime.manifest.types import ENCODE_IMAGE
from seas_runtime.methods.blending.inputs import REGIONS
from seas_runtime.methods.contract import Method
from seas_runtime.methods.request import Placing
from seas_runtime.methods.table import find_method
from seas_runtime.placement.options import AUTO


def needs_photographs(bundle: Bundle) -> bool:
    """Whether pairs of a bundle are of little use as whole pictures: its product was trained on regions, or
    its method draws into photographs alone."""
    manifest = bundle.manifest
    return bool(manifest.generation.get(REGIONS, False)) or find_method(manifest.method).photographs_alone


def has_photographs(bundle: Bundle) -> bool:
    """Whether a bundle can draw into photographs, and carries some."""
    return ENCODE_IMAGE in bundle.manifest.graphs and bool(bundle.backgrounds)


def by_method(asked: Placing, method: Method) -> Placing:
    """Return how pairs are placed with the method's own source of masks where `auto` leaves it to that."""
    if asked.placement.source != AUTO:
        return asked
    return replace(asked, placement=replace(asked.placement, source=method.placement_source))
