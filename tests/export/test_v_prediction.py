"""A base that predicts v, from checkpoint to pairs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from seas_export.export import ExportResult
from seas_runtime.bundle.reading import Bundle
from seas_train import load_checkpoint
from tests.export.conftest import STEPS, already_traced


def test_a_bundle_of_a_base_that_predicts_v_makes_pytorchs_pairs(
    checkpoint_folder: Path, exported: ExportResult, tmp_path: Path
) -> None:
    """Export holds graphs and whole pairs against diffusers' scheduler of that prediction type."""
    from seas_export.export import export_bundle

    folder = Path(shutil.copytree(checkpoint_folder, tmp_path / "checkpoint"))
    file = folder / "scheduler/scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prediction_type": "v_prediction"}))
    with already_traced(exported.bundle):
        made = export_bundle(folder, tmp_path / "bundle", steps=STEPS)
    assert made.parity is not None
    assert made.parity.passed
    kept = load_checkpoint(folder).scheduler.alphas_cumprod.double().numpy()
    for key, schedule in Bundle.read(made.bundle).schedules.items():
        other = Bundle.read(exported.bundle).schedules[key]
        timesteps = schedule.table[:, 0].round().astype(int)
        expected = np.stack([np.sqrt(kept[timesteps]), -np.sqrt(1 - kept[timesteps])], axis=1)
        assert np.abs(schedule.table[:, 2:4] - expected).max() <= 1e-5
        assert np.array_equal(schedule.table[:, 4:], other.table[:, 4:])
