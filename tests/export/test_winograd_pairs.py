"""Whole pairs of a real U-Net and VAE whose convolutions are in Winograd's form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("openvino")
from seas_engines.graphs import upsampling
from seas_runtime.backends.openvino import convolutions as openvino_convolutions
from seas_runtime.backends.openvino import cpu as openvino_cpu
from seas_runtime.backends.openvino.winograd import DOUBLED, SAME
from seas_runtime.generation.generator import Generator

if TYPE_CHECKING:
    from seas_export.export import ExportResult


def test_pairs_are_those_of_direct_convolutions(
    traced: Callable[..., ExportResult],
    checkpoint_folder: Path,
    generator: Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The checkpoint is tiny: channels as few as its own are enough here, on any processor."""
    monkeypatch.setattr(openvino_convolutions, "MIN_CHANNELS", 1)
    monkeypatch.setattr(openvino_cpu, "winograd_pays", lambda half: True)
    monkeypatch.setattr(upsampling, "MIN_CHANNELS", 1)
    forms: list[Any] = []
    write = openvino_convolutions._Writer.write

    def noting(self: Any, item: Any) -> Any:
        forms.append(item.form)
        return write(self, item)

    monkeypatch.setattr(openvino_convolutions._Writer, "write", noting)
    steps = generator.manifest.sampler.steps
    bundle = traced(checkpoint_folder, tmp_path / "bundle", steps=steps, parity=False).bundle
    ours = Generator.open(bundle, "openvino:fp32", threads=1)
    defect = ours.manifest.defects[0]
    made = list(ours.generate(defect, 2, batch=2, gate=False))
    expected = list(generator.generate(defect, 2, batch=2, gate=False))
    assert forms.count(SAME) > 20
    assert forms.count(DOUBLED) >= 3  # the U-Net's, and each decode's
    for one, other in zip(made, expected, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert np.abs(one.probability - other.probability).max() < 1e-4
