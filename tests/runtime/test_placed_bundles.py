"""Bundles with features of real defects and measured gates, and such that lie about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from seas_runtime.bundle.reading import Bundle, hash_files, write_manifest
from seas_runtime.errors import UserError
from seas_runtime.methods.placed.bounds import PlacedBounds
from seas_runtime.methods.placed.score import FEATURES, MOST_REAL
from seas_runtime.methods.table import find_method
from tests.runtime.bundles import CHANNELS

GATES = {"stain": {"change": 4.0, "iou": 0.25, "seam": 5.0}}
REAL = np.ones((2, 2 * CHANNELS), np.float32)
TABLE = {"stain": REAL, "stain/good": REAL}


def add(bundle: Path, tables: dict[str, np.ndarray], gates: Any) -> Path:
    """Write features and gates into a bundle."""
    manifest = Bundle.read(bundle, verify=False).manifest
    save_file(tables, bundle / "tables/features.safetensors")
    changed = replace(
        manifest,
        tables={**manifest.tables, FEATURES: "tables/features.safetensors"},
        files=hash_files(bundle),
        generation={**manifest.generation, "gates": gates},
    )
    write_manifest(bundle, changed)
    return bundle


def said(bundle: Bundle) -> dict[str, Any]:
    described = find_method(bundle.manifest.method).describe(bundle)
    return {name: described[name][0] for name in ("gates_measured", "scored")}


def test_a_bundle_with_features_and_gates(own_bundle: Path) -> None:
    assert said(Bundle.read(own_bundle)) == {"gates_measured": False, "scored": False}
    bundle = Bundle.read(add(own_bundle, TABLE, GATES))
    assert np.array_equal(bundle.tables[FEATURES]["stain"], REAL)
    assert PlacedBounds.of(bundle.manifest.generation, "stain") == PlacedBounds(4.0, 0.25, 5.0)
    assert PlacedBounds.of(bundle.manifest.generation, "broken_large") == PlacedBounds()
    assert said(bundle) == {"gates_measured": True, "scored": True}


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({**TABLE, "elsewhere": REAL}, "expected features of the bundle's defects, found 'elsewhere'"),
        ({"good": REAL}, "expected features of the bundle's defects, found 'good'"),
        ({"/good": REAL}, "expected features of the bundle's defects, found '/good'"),
        ({"stain": REAL}, "expected 'stain/good' beside 'stain', found none"),
        ({"stain/good": REAL}, "expected 'stain' beside 'stain/good', found none"),
        ({**TABLE, "stain/good": REAL[:1]}, r"'stain/good': expected float32 \[2 to 256, "),
        (
            {**TABLE, "stain": REAL[0]},
            rf"'stain': expected float32 \[1 to 256, {2 * CHANNELS}\], found float32",
        ),
        ({**TABLE, "stain": REAL[:0]}, r"'stain': expected float32 .* found float32 \[0, "),
        ({**TABLE, "stain": REAL[:, 1:]}, r"'stain': expected float32"),
        ({**TABLE, "stain": REAL.astype(np.float64)}, r"found float64 \[2, "),
        ({**TABLE, "stain": np.ones((MOST_REAL + 1, 2 * CHANNELS), np.float32)}, r"found float32 \[257, "),
        ({**TABLE, "stain": REAL * np.float32(np.nan)}, "expected finite values, found NaN or infinity"),
    ],
)
def test_features_that_do_not_fit_are_refused(
    own_bundle: Path, tables: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(UserError, match=rf"features\.safetensors.*{message}"):
        Bundle.read(add(own_bundle, tables, GATES))


def test_bounds_out_of_range_are_refused(own_bundle: Path) -> None:
    with pytest.raises(UserError, match=r"generation\.gates\['stain'\]\.iou: expected a number from 0\.0"):
        Bundle.read(add(own_bundle, TABLE, {"stain": {"iou": -1}}))
