"""Whole pairs of a real U-Net and VAE whose convolutions are in Winograd's form."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("openvino")
from seas_runtime.backends import openvino_convolutions, openvino_cpu
from seas_runtime.generator import Generator

if TYPE_CHECKING:
    from seas_export.export import ExportResult


def test_pairs_are_those_of_direct_convolutions(
    exported: ExportResult, generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_convolutions, "MIN_CHANNELS", 1)  # the checkpoint is tiny
    written: list[int] = []

    def noting(model: Any, half: bool) -> int:
        written.append(openvino_convolutions.use_winograd(model, half))
        return written[-1]

    monkeypatch.setattr(openvino_cpu, "use_winograd", noting)
    bundle = Path(shutil.copytree(exported.bundle, tmp_path / "bundle"))
    ours = Generator.open(bundle, "openvino:fp32", threads=1)
    defect = next(iter(ours.bundle.manifest.defects))
    made = list(ours.generate(defect, 2, batch=2, gate=False))
    expected = list(generator.generate(defect, 2, batch=2, gate=False))
    assert len(written) == 3  # step, decode_mask and decode_image
    assert min(written) > 5
    for one, other in zip(made, expected, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert np.abs(one.probability - other.probability).max() < 1e-4
