"""One tiny checkpoint, exported once; and exports that take its traced graphs instead of tracing again.

PyTorch is imported inside the fixtures: the command line's tests, which need none, start at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.export.commands import run, toy_bundle, toy_product

if TYPE_CHECKING:
    from seas_export.export import ExportResult
    from seas_runtime.generator import Generator
    from seas_train.checkpoint import Checkpoint

__all__ = ["run", "toy_bundle", "toy_product"]  # fixtures of the command line

STEPS = 10


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that no test may change."""
    import torch

    from tests.export.checkpoints import write_tiny_checkpoint

    torch.set_num_threads(1)
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="session")
def checkpoint(checkpoint_folder: Path) -> Checkpoint:
    from seas_train.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint_folder)


@pytest.fixture(scope="session")
def exported(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The checkpoint's bundle, traced and checked against PyTorch for real."""
    from seas_export.export import export_bundle

    return export_bundle(checkpoint_folder, tmp_path_factory.mktemp("bundles") / "bundle", steps=STEPS)


@pytest.fixture(scope="session")
def generator(exported: ExportResult) -> Generator:
    from seas_runtime.generator import Generator

    return Generator.open(exported.bundle, threads=1)


@pytest.fixture
def traced(exported: ExportResult, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ExportResult]:
    """`export_bundle` for a tenth of the time: its traced parts are those of `exported`."""
    import onnx_ir as ir

    from seas_export.export import export_bundle

    def trace(part: Any, opset: int) -> ir.Model:
        return ir.load(exported.bundle / "graphs" / f"{part.name}.onnx")

    monkeypatch.setattr("seas_export.export.trace.trace", trace)
    return export_bundle
