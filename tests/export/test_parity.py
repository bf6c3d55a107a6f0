from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from seas_export.export import ExportResult
from seas_export.export.parity import measure
from seas_export.export.parity.graphs import RangeComparison
from seas_export.export.parity.pipeline import PipelineFigures
from seas_export.export.parity.report import (
    BOUNDS,
    GraphBound,
    GraphRow,
    ParityReport,
    PipelineBound,
    PipelineRow,
)
from seas_export.methods.contract import ReferencePair
from seas_export.methods.seas.expected import make_inputs
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.records import GeneratedPair
from seas_train import Checkpoint, load_checkpoint
from tests.export.checkpoints import write_tiny_checkpoint
from tests.export.conftest import STEPS

Export = Callable[..., ExportResult]


def test_every_output_of_every_graph_is_compared(exported: ExportResult) -> None:
    assert exported.parity is not None
    graphs = Bundle.read(exported.bundle).manifest.graphs
    wanted = {(name, tensor.name) for name, graph in graphs.items() for tensor in graph.outputs}
    assert {(row.graph, row.output) for row in exported.parity.graphs} == wanted
    assert [row.figure for row in exported.parity.pipeline] == [
        "image PSNR (dB)",
        "probability, max |difference|",
        "mask IoU",
    ]
    assert (exported.parity.pairs, exported.parity.placed) == (2, 1)


def test_bounds_are_the_issues() -> None:
    bounds = BOUNDS["fp32"]
    assert (bounds.graph.relative, bounds.graph.levels) == (1e-4, 1)
    assert bounds.pipeline == PipelineBound(psnr=50.0, probability=0.01, iou=0.99)


@pytest.mark.parametrize(
    ("part", "tensor"),
    [
        (lambda models: models.unet.conv_out, "unet.noise_prediction"),
        (lambda models: models.vae.decoder.conv_in, "vae_decoder.vae_tap_2x"),
        (lambda models: models.artifacts["mask_head"].MRM3.conv1[0], "mask_head.probability"),
        (lambda models: models.text_encoder.get_input_embeddings(), "text_encoder.context"),
    ],
)
def test_a_wrong_weight_fails_by_name_and_leaves_no_bundle(
    traced: Export,
    checkpoint: Checkpoint,
    checkpoint_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: Callable[[Checkpoint], nn.Module],
    tensor: str,
) -> None:
    """The graphs are those of the sound checkpoint; one of PyTorch's weights is 5 % off."""
    spoilt = load_checkpoint(checkpoint_folder)
    part(spoilt).weight.data.mul_(1.05)  # type: ignore[operator, union-attr]
    monkeypatch.setattr("seas_export.export.bundle.load_checkpoint", lambda path: spoilt)
    with pytest.raises(
        CheckFailed, match=tensor.replace(".", r"\.") + r": [\d.e+-]+ of the tensor's range, allowed: 0.0001"
    ):
        traced(checkpoint_folder, tmp_path / "bundle", steps=STEPS)
    assert list(tmp_path.iterdir()) == []


def test_an_older_bundle_survives_a_failed_export(
    traced: Export, checkpoint_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    before = traced(checkpoint_folder, out, steps=STEPS, parity=False)
    failing = ParityReport("fp32", (GraphRow("unet", "noise_prediction", 1.0, 0.5, 1e-4, False),), (), 0)
    monkeypatch.setattr("seas_export.export.bundle.parity_figures.compare", lambda *_: failing)
    with pytest.raises(
        CheckFailed, match=r"unet\.noise_prediction: 0\.5 of the tensor's range, allowed: 0\.0001"
    ):
        traced(checkpoint_folder, out, steps=STEPS, force=True)
    assert Bundle.read(out).fingerprint == before.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_measure_refuses_another_checkpoint(exported: ExportResult, tmp_path: Path) -> None:
    other = write_tiny_checkpoint(tmp_path, seed=5)
    description = other / "seas.json"
    values = json.loads(description.read_text())
    description.write_text(json.dumps({**values, "fingerprint": "2" * 64}))
    with pytest.raises(UserError, match=r"expected a bundle of checkpoint .*222222222222"):
        measure(exported.bundle, other)


def test_inputs_depend_on_the_seed_alone(checkpoint: Checkpoint, generator: Generator) -> None:
    schedule = generator.bundle.schedule()
    one, same, other = (make_inputs(checkpoint, schedule, seed, 3) for seed in (0, 0, 1))
    assert np.array_equal(one["step"]["latents"], same["step"]["latents"])
    assert not np.array_equal(one["step"]["latents"], other["step"]["latents"])


def pair(
    image: float, probability: float, mask: slice, size: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    masked = np.zeros((size, size), np.uint8)
    masked[mask] = 255
    return np.full((size, size, 3), image, np.uint8), np.full((size, size), probability, np.float32), masked


def figures(*pairs: tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]) -> PipelineFigures:
    made = PipelineFigures()
    for ours, theirs in pairs:
        image, probability, mask = theirs
        made.add(
            GeneratedPair(ours[0], ours[2], ours[1], None),  # type: ignore[arg-type]
            ReferencePair(image, mask, probability, np.zeros(1, np.float32), 0.0),
        )
    return made


def test_pipeline_figures_by_hand() -> None:
    made = figures(
        (pair(100, 0.5, slice(0, 4)), pair(101, 0.4, slice(0, 2))),
        (pair(50, 0.2, slice(0, 2)), pair(50, 0.2, slice(0, 2))),
    )
    assert made.psnr == pytest.approx(10 * np.log10(255**2 / 0.5))  # one level in half of the values
    assert made.iou == pytest.approx((16 + 16) / (32 + 16))  # pooled over both
    psnr, probability, iou = made.rows(PipelineBound(50.0, 0.01, 0.99))
    assert psnr.passed
    assert not probability.passed
    assert probability.value == pytest.approx(0.1)
    assert not iou.passed


def test_empty_masks_and_equal_images_agree() -> None:
    made = figures((pair(7, 0.0, slice(0, 0)), pair(7, 0.0, slice(0, 0))))
    assert (made.psnr, made.iou) == (999.0, 1.0)
    assert all(row.passed for row in made.rows(BOUNDS["fp32"].pipeline))


def test_a_nan_never_passes() -> None:
    rows = figures((pair(7, float("nan"), slice(0, 1)), pair(7, 0.0, slice(0, 1)))).rows(
        BOUNDS["fp32"].pipeline
    )
    assert not rows[1].passed
    comparison = RangeComparison("g", GraphBound(1e-4, 1))
    comparison({"y": np.array([np.nan, 1.0])}, {"y": np.array([0.0, 1.0])})
    assert not comparison.rows[0].passed


@pytest.mark.parametrize(
    ("found", "expected", "relative", "passed"),
    [
        (np.array([0.0, 1.00011]), np.array([0.0, 1.0]), 1.1e-4, False),
        (np.array([0.0, 100.005]), np.array([0.0, 100.0]), 5e-5, True),
        (np.array([5.0, 5.00001]), np.array([5.0, 5.0]), 2e-6, True),  # constant: relative to its magnitude
        (np.array([3, 250], np.uint8), np.array([4, 250], np.uint8), 1 / 255, True),
        (np.array([2, 250], np.uint8), np.array([4, 250], np.uint8), 2 / 255, False),
        (np.zeros((1, 2)), np.zeros((2, 1)), np.inf, False),
    ],
)
def test_relative_to_the_range(
    found: np.ndarray, expected: np.ndarray, relative: float, passed: bool
) -> None:
    comparison = RangeComparison("g", GraphBound(1e-4, 1))
    verdict = comparison({"y": found}, {"y": expected})
    assert comparison.rows[0].relative == pytest.approx(relative, rel=1e-3)
    assert comparison.rows[0].passed == verdict["y"] == passed


def test_report_is_json_whatever_was_measured() -> None:
    report = ParityReport(
        "fp32",
        (GraphRow("unet", "x", float("inf"), float("nan"), 1e-4, False),),
        (PipelineRow("image PSNR (dB)", float("-inf"), 50.0, False),),
        1,
    )
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["passed"] is False
    assert "FAILED" in report.to_text()
    with pytest.raises(
        CheckFailed, match=r"unet\.x.*\n.*image PSNR \(dB\) over 1 pairs: -inf, the bound is 50"
    ):
        report.require()
