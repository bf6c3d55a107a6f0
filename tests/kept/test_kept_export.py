"""Export composes, tabulates and describes the kept bundle as it did, from the same traced parts."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.kept import evidence


def test_the_kept_checkpoint_becomes_the_kept_bundle(tmp_path: Path) -> None:
    import torch

    from seas_export.export import export_bundle
    from tests.export.conftest import already_traced
    from tests.kept.checkpoint import STEPS, write_kept_checkpoint

    torch.set_num_threads(1)
    kept = evidence.open_bundle("exported", tmp_path)
    checkpoint = write_kept_checkpoint(tmp_path)
    with already_traced(kept):
        made = export_bundle(checkpoint, tmp_path / "made", steps=STEPS, parity=False).bundle
    here = evidence.processor() == evidence.read("expected.json")["made_with"]["processor"]
    assert not evidence.exported_alike(made, evidence.file_digests(kept), here)
    assert evidence.plain_manifest(made) == evidence.plain_manifest(kept) or not here
