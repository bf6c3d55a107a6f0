"""Graphs for ONNX Runtime's CUDA provider: that they say the same as the bundle's, in its operators.

The operators themselves run on a GPU alone; here they are taken back to standard ones, as the documentation
of each defines it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.nn import functional

from seas_engines.building.compile import compile_bundle
from seas_engines.graphs import upsampling
from seas_engines.graphs.cuda import write_for_cuda
from seas_engines.graphs.cuda.batch_norms import fold_batch_norms
from seas_engines.graphs.rewrite import Form, rewrite
from seas_engines.precision.half import infer_types
from seas_engines.targets.options import EngineOptions
from seas_export.export import ExportResult
from seas_export.graphs.trace import Part, trace
from seas_runtime.backends.onnxruntime.graph_files import graph_file
from seas_runtime.bundle.reading import Bundle
from seas_runtime.manifest.types import ENCODE_IMAGE
from seas_runtime.methods.seas import GRAPHS
from tests.engines.cuda_operators import VENDOR, beside_the_bundles, in_standard_operators
from tests.export.models import operators, run

WIDTH = 320


def rewritten(model: ir.Model) -> ir.Model:
    """Write a model for the provider, in place."""
    rewrite(model, model.opset_imports[""], Form.VENDOR, Form.VENDOR)
    infer_types(model)
    write_for_cuda(model)
    return model


def traced(module: nn.Module, *shapes: tuple[int, ...]) -> tuple[ir.Model, dict[str, np.ndarray]]:
    """Trace a module with a dynamic batch, and return inputs of two images for it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inputs = {f"in{place}": torch.randn(2, *shape) for place, shape in enumerate(shapes)}
    model = trace(Part("p", module.eval(), inputs, ("out",), tuple(inputs)), 20)
    return model, {name: tensor.numpy() for name, tensor in inputs.items()}


def check_same(model: ir.Model, feeds: dict[str, np.ndarray], tolerance: float = 2e-5) -> Counter[str]:
    """Compare a model before and after; return its operators after."""
    expected = run(model, **feeds)
    found = operators(rewritten(model))
    in_standard_operators(model)
    np.testing.assert_allclose(run(model, **feeds), expected, atol=tolerance * np.abs(expected).max())
    return found


class Residual(nn.Module):
    """A residual block of a U-Net, with what comes after it."""

    def __init__(self, channels: int = 64, groups: int = 8) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(groups, channels) for _ in range(3))
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
        self.embed = nn.Linear(16, channels)
        for norm in self.norms:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, image: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        middle = self.convolutions[0](functional.silu(self.norms[0](image)))
        middle = middle + self.embed(embedding)[:, :, None, None]
        image = image + self.convolutions[1](functional.silu(self.norms[1](middle)))
        larger = functional.interpolate(self.norms[2](image), scale_factor=2.0, mode="nearest")
        return self.convolutions[2](torch.cat([larger, larger * 2], dim=1)[:, : image.shape[1]])


def test_a_residual_block_is_of_the_providers_operators() -> None:
    model, feeds = traced(Residual(), (64, 8, 8), (16,))
    found = check_same(model, feeds)
    assert found["NhwcConv"] == 3
    assert found["GroupNorm"] + found["SkipGroupNorm"] == 3
    assert found["SkipGroupNorm"] == 2  # a value per image and channel, and a residual that is read again
    assert found["Sigmoid"] == found["InstanceNormalization"] == found["Conv"] == 0


def test_a_group_of_one_channel_keeps_its_norm_in_pieces() -> None:
    """The provider's kernel takes channels in pairs."""
    model, feeds = traced(Residual(channels=8, groups=8), (8, 8, 8), (16,))
    found = check_same(model, feeds)
    assert found["GroupNorm"] == found["SkipGroupNorm"] == 0
    assert found["InstanceNormalization"] == 3


class Transformer(nn.Module):
    """Self- and cross-attention and a gated layer, of the width whose kernels there are."""

    def __init__(self, texts: int = 3) -> None:
        super().__init__()
        self.into, self.out = nn.Conv2d(8, WIDTH, 1), nn.Conv2d(WIDTH, 8, 1)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(texts + 1))
        self.keys = nn.ModuleList(nn.Linear(24, WIDTH, bias=False) for _ in range(2 * texts))
        self.mixed = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(texts))
        self.gate, self.last = nn.Linear(WIDTH, 2560), nn.Linear(1280, WIDTH)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        tokens = self.into(image)
        batch, _, height, width = tokens.shape
        tokens = tokens.permute(0, 2, 3, 1).reshape(batch, height * width, WIDTH)
        for place, mixed in enumerate(self.mixed):
            query = self.norms[place](tokens)
            key, value = self.keys[2 * place](text), self.keys[2 * place + 1](text)
            heads = [item.unflatten(-1, (4, -1)).transpose(1, 2) for item in (query, key, value)]
            joined = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
            tokens = tokens + mixed(joined)
        hidden, gate = self.gate(self.norms[-1](tokens)).chunk(2, dim=-1)
        tokens = tokens + self.last(hidden * functional.gelu(gate))
        return self.out(tokens.reshape(batch, height, width, WIDTH).permute(0, 3, 1, 2))


def test_a_transformer_block_is_of_the_providers_operators() -> None:
    model, feeds = traced(Transformer(), (8, 4, 4), (7, 24))
    found = check_same(model, feeds)
    assert found["MultiHeadAttention"] == 3
    assert found["SkipLayerNormalization"] == 4  # the first adds the bias of the convolution before it
    assert found["LayerNormalization"] == 0
    assert found["BiasSplitGelu"] == found["BiasAdd"] == 1
    assert found["Gelu"] == found["Add"] == 0
    assert found["MatMul"] == 1 + 3 + 2  # keys and values of all three as one product, parted
    assert found["Split"] == 1
    assert found["Transpose"] == 2  # the image on its way in and out


def test_few_products_or_large_inputs_stay_apart() -> None:
    model, _ = traced(Transformer(texts=1), (8, 4, 4), (7, 24))
    assert operators(rewritten(model))["Split"] == 0
    model, _ = traced(Transformer(), (8, 4, 4), (300, 24))
    assert operators(rewritten(model))["Split"] == 0


class Decoder(nn.Module):
    """Two residual blocks of a decoder with an upsampling between them, and one of an image of its own."""

    def __init__(self, factor: float = 2.0, mode: str = "nearest", read_twice: bool = False) -> None:
        super().__init__()
        self.factor, self.mode, self.read_twice = factor, mode, read_twice
        self.norms = nn.ModuleList(nn.GroupNorm(4, 16) for _ in range(4))
        self.convolutions = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(4))
        self.shortcut = nn.Conv2d(16, 16, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = self.convolutions[0](image)
        inner = self.norms[1](self.convolutions[1](self.norms[0](image)))
        image = self.norms[2](self.shortcut(image) + self.convolutions[2](inner))
        large = functional.interpolate(image, scale_factor=self.factor, mode=self.mode)
        made = self.convolutions[3](large)
        return functional.silu(self.norms[3](made)) + (large if self.read_twice else made)


def biased(model: ir.Model) -> list[bool]:
    """Tell of each convolution, in the order of running, whether it has a bias."""
    return [len(node.inputs) == 3 for node in rewritten(model).graph if node.op_type == "NhwcConv"]


def test_norms_of_a_sum_add_the_biases_of_the_convolutions_before_them() -> None:
    model, feeds = traced(Decoder(factor=3.0), (16, 5, 4))
    found = check_same(model, feeds)
    assert found["GroupNorm"] == 3
    assert found["SkipGroupNorm"] == 1  # of a residual and its shortcut, which both have a bias
    model, _ = traced(Decoder(factor=3.0), (16, 5, 4))
    assert biased(model).count(False) == 2
    model, _ = traced(Transformer(), (8, 4, 4), (7, 24))
    assert biased(model) == [False, True]


def test_upsampling_goes_into_the_convolution_behind_it() -> None:
    model, feeds = traced(Decoder(), (16, 5, 4))
    found = check_same(model, feeds)
    assert found["Resize"] == 0
    assert found["NhwcConv"] == 4 + 2
    assert found["Expand"] == 1


def test_upsampling_that_was_split_for_processors_becomes_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upsampling, "MIN_CHANNELS", 1)
    model, feeds = traced(Decoder(), (16, 5, 4))
    whole, _ = traced(Decoder(), (16, 5, 4))
    assert upsampling.split_upsampling(model) == 1
    assert operators(model)["DepthToSpace"] == 1
    found = check_same(model, feeds)
    assert found == operators(rewritten(whole))
    assert found["DepthToSpace"] == 0


@pytest.mark.parametrize("other", [Decoder(factor=3.0), Decoder(mode="bilinear"), Decoder(read_twice=True)])
def test_other_upsampling_stays(other: Decoder) -> None:
    model, feeds = traced(other, (16, 5, 4))
    found = check_same(model, feeds)
    assert found["Resize"] == 1
    assert found["Expand"] == 0


class Upsampled(nn.Module):
    """An upsampling whose convolution no norm reads: its bias stays with it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1) for _ in range(3))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        large = functional.interpolate(self.convolutions[0](image), scale_factor=2.0, mode="nearest")
        made = self.convolutions[1](large)
        return self.convolutions[2](made + torch.sigmoid(made) + made.relu())


def test_an_upsamplings_convolution_keeps_its_bias_for_every_phase() -> None:
    model, feeds = traced(Upsampled(), (6, 3, 5))
    found = check_same(model, feeds)
    assert found["NhwcConv"] == 2 + 2
    assert found["Sum"] == 1
    assert found["Add"] == 0
    model, _ = traced(Upsampled(), (6, 3, 5))
    assert all(biased(model))


class Normed(nn.Module):
    def __init__(self, bias: bool = True, shared: bool = False) -> None:
        super().__init__()
        self.shared = shared
        self.convolution, self.norm = nn.Conv2d(6, 8, 3, bias=bias), nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 4, 1)
        for name, low, high in (("weight", -1, 2), ("bias", -1, 1)):
            nn.init.uniform_(getattr(self.norm, name), low, high)
        nn.init.uniform_(self.norm.running_mean, -1, 1)
        nn.init.uniform_(self.norm.running_var, 0.1, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        made = self.convolution(image)
        normed = functional.relu(self.norm(made))
        return self.last(normed + made if self.shared else normed)


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_goes_into_the_convolution_before_it(bias: bool) -> None:
    model, feeds = traced(Normed(bias), (6, 6, 6))
    expected = run(model, **feeds)
    fold_batch_norms(model.graph)
    assert operators(model) == Counter(Conv=2, Relu=1)
    np.testing.assert_allclose(run(model, **feeds), expected, atol=1e-5)


def test_batch_norm_of_what_is_read_elsewhere_is_a_product_and_a_sum() -> None:
    model, feeds = traced(Normed(shared=True), (6, 6, 6))
    found = check_same(model, feeds)
    assert found == Counter(NhwcConv=2, Transpose=2, Mul=1, Add=2, Relu=1)


@pytest.fixture(scope="module")
def own_bundle(exported: ExportResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, since engines lie in the bundle's folder."""
    return Path(shutil.copytree(exported.bundle, tmp_path_factory.mktemp("cuda") / "bundle"))


@pytest.fixture(scope="module")
def with_engines(own_bundle: Path) -> Bundle:
    compile_bundle(own_bundle, EngineOptions("cuda", precision="fp32"))
    return Bundle.read(own_bundle)


@pytest.mark.parametrize("graph", [*GRAPHS, ENCODE_IMAGE])
def test_an_engine_says_what_the_bundles_graph_says(with_engines: Bundle, graph: str, tmp_path: Path) -> None:
    found = graph_file(with_engines, graph)
    assert found.is_engine
    assert found.load().data == found.file.read_bytes()  # it passes the check of what came from anywhere
    assert found.precision == "fp32"
    model = ir.load(found.file)
    count = operators(model)
    assert count["Conv"] == count["BatchNormalization"] == 0
    assert count["NhwcConv"] > 0
    in_standard_operators(model)
    assert {node.op_type for node in model.graph if node.domain == VENDOR} <= {
        "MultiHeadAttention",
        "SkipLayerNormalization",
    }
    for made, expected in beside_the_bundles(model, with_engines, graph, tmp_path):
        assert made.shape == expected.shape
        limit = 1.0 if expected.dtype == np.uint8 else 1e-4 * np.abs(expected).max()
        assert np.abs(made.astype(np.float64) - expected).max() <= limit


def test_half_engines_of_a_float32_bundle_hold_half_weights(own_bundle: Path) -> None:
    result = compile_bundle(own_bundle, EngineOptions("cuda"))
    assert {engine.precision for engine in result.engines} == {"fp16"}
    found = graph_file(Bundle.read(own_bundle), "decode_mask")
    weights = [value.dtype for value in ir.load(found.file).graph.initializers.values() if value.shape]
    assert weights.count(ir.DataType.FLOAT16) > weights.count(ir.DataType.FLOAT)
