"""Export composes, tabulates and describes the kept bundle as it did, from the same traced parts.

What has come since is the blend, in the steps and two columns of the schedules, and `encode_image`: with
masks of ones pairs are the same bits.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

pytest.importorskip("torch")

from seas_runtime import Bundle, Generator
from seas_runtime.backends.contract import open_backend
from seas_runtime.manifest.schedule import COLUMNS
from tests.kept import evidence


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The kept bundle, and one of its checkpoint made now."""
    import torch

    from seas_export.export import export_bundle
    from tests.export.conftest import already_traced
    from tests.kept.checkpoint import STEPS, write_kept_checkpoint

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("kept")
    kept = evidence.open_bundle("exported", folder)
    checkpoint = write_kept_checkpoint(folder)
    with already_traced(kept):
        return kept, export_bundle(checkpoint, folder / "made", steps=STEPS, parity=False).bundle


def test_the_kept_checkpoint_becomes_the_kept_bundle(bundles: tuple[Path, Path]) -> None:
    kept, made = bundles
    here = evidence.processor() == evidence.read("expected.json")["made_with"]["processor"]
    differing = set(evidence.exported_alike(made, evidence.file_digests(kept), here))
    assert differing | {"manifest.json"} == evidence.BLENDS
    old, new = (load_file(bundle / "tables/schedule.safetensors") for bundle in (kept, made))
    assert old.keys() == new.keys()
    for key, table in old.items():
        assert np.array_equal(new[key][..., : len(COLUMNS)], table)
    then, now = map(evidence.plain_manifest, (kept, made))
    for manifest in (then, now):
        del manifest["files"]
        for graph in ("step", "step_unguided", "encode_image"):
            manifest["graphs"].pop(graph, None)
    assert now == then


@pytest.mark.parametrize("request_", evidence.requests("exported"), ids=evidence.key)
def test_masks_of_ones_change_no_bit(bundles: tuple[Path, Path], request_: dict[str, Any]) -> None:
    kept, made = (Bundle.read(path) for path in bundles)
    made = replace(made, manifest=replace(made.manifest, schema=kept.manifest.schema))  # whose noise is drawn
    found, expected = (
        list(Generator(bundle, open_backend("cpu", 1)).generate(**request_)) for bundle in (made, kept)
    )
    assert len(found) == len(expected) == request_["count"]
    for one, other in zip(found, expected, strict=True):
        assert one.probability is not None
        assert other.probability is not None
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.mask, other.mask)
        assert np.array_equal(one.probability, other.probability)
