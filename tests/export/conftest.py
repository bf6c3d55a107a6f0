"""One tiny checkpoint, exported once; and exports that take its traced graphs instead of tracing again.

PyTorch is imported inside the fixtures: the command line's tests, which need none, start at once.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.export.commands import run, toy_bundle, toy_bundle_for_all, toy_product, toy_product_for_all

if TYPE_CHECKING:
    from seas_export.export import ExportResult
    from seas_runtime.generation.generator import Generator
    from seas_train import Checkpoint

# Fixtures of the command line.
__all__ = ["run", "toy_bundle", "toy_bundle_for_all", "toy_product", "toy_product_for_all"]

STEPS = 10
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed"
)


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that no test may change."""
    import torch

    from tests.export.checkpoints import write_tiny_checkpoint

    torch.set_num_threads(1)
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="session")
def checkpoint(checkpoint_folder: Path) -> Checkpoint:
    from seas_train import load_checkpoint

    return load_checkpoint(checkpoint_folder)


@pytest.fixture(scope="session")
def exported(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The checkpoint's bundle, traced and checked against PyTorch for real."""
    from seas_export.export import export_bundle

    return export_bundle(checkpoint_folder, tmp_path_factory.mktemp("bundles") / "bundle", steps=STEPS)


@pytest.fixture(scope="session")
def generator(exported: ExportResult) -> Generator:
    from seas_runtime.generation.generator import Generator

    return Generator.open(exported.bundle, threads=1)


@pytest.fixture
def traced(exported: ExportResult) -> Iterator[Callable[..., ExportResult]]:
    """`export_bundle` for a tenth of the time: its traced parts are those of `exported`."""
    from seas_export.export import export_bundle

    with already_traced(exported.bundle):
        yield export_bundle


@contextlib.contextmanager
def already_traced(bundle: Path, gains: Mapping[str, float] | None = None) -> Iterator[None]:
    """Let `export_bundle` take a float32 bundle's parts for what it traces, layers in `gains` so much larger.

    The layers' names are those of the parts' parameters, without `.weight` and `.bias`.
    """
    import onnx_ir as ir

    def trace(part: Any, opset: int) -> ir.Model:
        model = ir.load(bundle / "graphs" / f"{part.name}.onnx")
        for name, value in model.graph.initializers.items():
            gain = (gains or {}).get(name.rpartition(".")[0])
            if gain is not None and value.const_value is not None:
                value.const_value = ir.tensor(value.const_value.numpy() * gain)
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seas_export.graphs.trace.trace", trace)
        yield
