from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from operations import count_graph
from torch import nn
from torch.nn import functional

from seas_engines.graphs import upsampling
from seas_engines.graphs.upsampling import MIN_CHANNELS, split_parameters, split_upsampling
from seas_export.export import ExportResult, export_bundle
from seas_export.graphs.trace import Part, trace
from seas_export.graphs.weights import WeightStore, save_graphs
from seas_train import Checkpoint
from tests.export.models import operators, run

CHANNELS, OUT = 6, 24


class Upsampler(nn.Module):
    """Nearest-neighbour upsampling and a convolution, as in the decoder's and the U-Net's up-blocks."""

    def __init__(
        self,
        mode: str = "nearest",
        factor: float = 2.0,
        read_twice: bool = False,
        bare: bool = False,
        **convolution: int,
    ) -> None:
        super().__init__()
        self.mode, self.factor, self.read_twice, self.bare = mode, factor, read_twice, bare
        self.conv = nn.Conv2d(CHANNELS, OUT, **{"kernel_size": 3, "padding": 1, **convolution})  # type: ignore[arg-type]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        large = functional.interpolate(image, scale_factor=self.factor, mode=self.mode)
        made: torch.Tensor = self.conv(large)
        if self.bare:
            return made
        return made.relu() + large.sum() if self.read_twice else made.relu()


@pytest.fixture(autouse=True)
def _narrow_is_wide_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsampling, "MIN_CHANNELS", CHANNELS)


def traced(module: nn.Module, dtype: torch.dtype = torch.float32) -> ir.Model:
    image = torch.randn(2, CHANNELS, 7, 4, dtype=dtype)
    return trace(Part("p", module.eval().to(dtype), {"image": image}, ("made",), ("image",)), 20)


@pytest.mark.parametrize(
    ("module", "dtype", "bound"),
    [
        (Upsampler(), torch.float32, 1e-5),
        (Upsampler(), torch.float16, 5e-3),
        (Upsampler(bare=True), torch.float32, 1e-5),  # the graph's own output, as the U-Net's features are
        (Upsampler(bias=False), torch.float32, 1e-5),
    ],
    ids=["fp32", "fp16", "output", "no bias"],
)
def test_splitting_changes_no_values(module: Upsampler, dtype: torch.dtype, bound: float) -> None:
    model = traced(module, dtype)
    image = np.random.default_rng(0).standard_normal((3, CHANNELS, 7, 4)).astype(np.float32)
    expected = copy.deepcopy(module).float()(torch.from_numpy(image)).detach().numpy()
    assert split_upsampling(model) == 1
    found = run(model, image=image.astype(str(dtype).split(".")[-1]))
    assert found.shape == (3, OUT, 14, 8)
    assert np.abs(found - expected).max() < bound  # the image's edges included
    kinds = operators(model)
    assert (kinds["Resize"], kinds["Conv"], kinds["DepthToSpace"]) == (0, 4, 1)
    assert [value.name for value in model.graph.outputs] == ["made"]


@pytest.mark.parametrize(
    "module",
    [
        Upsampler(mode="bilinear"),
        Upsampler(factor=3.0),
        Upsampler(read_twice=True),
        Upsampler(kernel_size=1, padding=0),
        Upsampler(padding=0),
        Upsampler(stride=2),
        Upsampler(dilation=2, padding=2),
        Upsampler(groups=2),
    ],
    ids=["bilinear", "by three", "read twice", "1x1", "no padding", "strided", "dilated", "grouped"],
)
def test_what_is_not_such_an_upsampling_stays(module: Upsampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsampling, "MIN_CHANNELS", 1)
    model = traced(module)
    before = operators(model)
    assert split_upsampling(model) == 0
    assert operators(model) == before


def test_few_channels_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsampling, "MIN_CHANNELS", MIN_CHANNELS)
    assert split_upsampling(traced(Upsampler())) == 0


def test_a_shared_weight_is_split_once_and_read_from_the_open_store(tmp_path: Path) -> None:
    """Export splits after the parts' weights were moved, while the file is still written to."""
    model, again = traced(Upsampler()), traced(Upsampler())
    kernel = np.random.default_rng(0).standard_normal((OUT, CHANNELS, 3, 3)).astype(np.float32)
    for one in (model, again):
        weight = next(
            value for value in one.graph.initializers.values() if value.shape == (OUT, CHANNELS, 3, 3)
        )
        weight.const_value = ir.tensor(kernel)
    image = np.random.default_rng(1).standard_normal((1, CHANNELS, 7, 4)).astype(np.float32)
    expected = run(model, image=image)
    with WeightStore(tmp_path) as store:
        store.move([model, again])
        assert split_upsampling(model) == split_upsampling(again) == 1
        store.move([model, again])
    save_graphs({"model": model, "again": again}, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    bias = [value.const_value for value in again.graph.initializers.values() if value.shape == (OUT,)]
    assert len(bias) == 1
    assert np.abs(session.run(None, {"image": image})[0] - expected).max() < 1e-5
    # The old kernel, and the four new ones once for both graphs.
    stored = (tmp_path / "weights.bin").stat().st_size
    assert stored == pytest.approx((9 + 16) * OUT * CHANNELS * 4, abs=64 * 5)


def test_four_ninths_of_the_operations_are_left(tmp_path: Path) -> None:
    model = traced(Upsampler())
    counts = []
    for name in ("whole", "split"):
        if name == "split":
            split_upsampling(model)
        ir.save(model, tmp_path / f"{name}.onnx")
        counts.append(count_graph(tmp_path / f"{name}.onnx").total)
    assert counts[1] / counts[0] == pytest.approx(4 / 9)


def test_what_splitting_adds_is_known_beforehand(
    exported: ExportResult, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upsampling, "MIN_CHANNELS", 1)
    modules = {
        "step": checkpoint.unet,
        "step_unguided": checkpoint.unet,
        "decode_mask": checkpoint.vae.decoder,
        "decode_image": checkpoint.vae.decoder,
    }
    for name, module in modules.items():
        model = ir.load(exported.bundle / f"graphs/{name}.onnx")
        before = set(model.graph.initializers)
        assert split_upsampling(model) == 3
        new = [value for key, value in model.graph.initializers.items() if key not in before]
        added = sum(value.const_value.size for value in new if value.const_value is not None)
        assert split_parameters(module) == added > 0


@pytest.mark.parametrize(("target", "split"), [("cpu", 3), ("rtx", 0)])
def test_the_target_decides_whether_export_splits(
    target: str, split: int, checkpoint_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upsampling, "MIN_CHANNELS", 1)
    made = export_bundle(checkpoint_folder, tmp_path / "b", target=target, precision="fp32", steps=10)
    assert made.parity is not None  # and within its bounds, or export had failed
    for name in ("step", "step_unguided", "decode_mask", "decode_image"):
        kinds = operators(ir.load(made.bundle / f"graphs/{name}.onnx"))
        assert kinds["DepthToSpace"] == split, name
    for name in ("unet", "vae_decoder"):
        kinds = operators(ir.load(made.bundle / f"graphs/{name}.onnx"))
        assert (kinds["DepthToSpace"], kinds["Resize"]) == (0, 3), name
