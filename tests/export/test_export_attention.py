from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.nn import functional

from seas_engines.graphs.attention import fuse_attention
from seas_export.export import ExportResult
from seas_export.graphs.trace import Part, trace
from tests.export.models import operators, run


class SelfAttention(nn.Module):
    def __init__(self, masked: bool = False, uses_scores: bool = False, bare: bool = False) -> None:
        super().__init__()
        self.masked, self.uses_scores, self.bare = masked, uses_scores, bare
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.projections = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            projection(tokens).unflatten(-1, (2, -1)).transpose(1, 2) for projection in self.projections
        )
        if self.uses_scores:
            scores = torch.softmax(query @ key.transpose(2, 3), dim=-1)
            return (scores @ value).transpose(1, 2).flatten(2) + scores.mean()
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.masked)
        joined = mixed.transpose(1, 2).flatten(2)
        return joined if self.bare else joined * 2


def traced(module: nn.Module) -> ir.Model:
    return trace(Part("p", module.eval(), {"tokens": torch.randn(2, 6, 8)}, ("mixed",), ("tokens",)), 20)


@pytest.mark.parametrize(
    "module",
    [SelfAttention(), SelfAttention(masked=True), SelfAttention(uses_scores=True), SelfAttention(bare=True)],
)
def test_fusing_changes_no_values(module: SelfAttention) -> None:
    model = traced(module)
    tokens = np.random.default_rng(0).standard_normal((5, 6, 8)).astype(np.float32)
    before = run(model, tokens=tokens)
    assert np.abs(before - module(torch.from_numpy(tokens)).detach().numpy()).max() < 1e-5
    fused = fuse_attention(model)
    # Masked attention, scores that something else reads, and a graph's own output stay as they are.
    assert fused == (0 if module.masked or module.uses_scores or module.bare else 1)
    assert np.abs(run(model, tokens=tokens) - before).max() < 1e-5


def test_every_attention_of_the_unet_is_one_node(exported: ExportResult) -> None:
    unet, step = (operators(ir.load(exported.bundle / f"graphs/{name}.onnx")) for name in ("unet", "step"))
    assert unet["MultiHeadAttention"] == 0
    assert unet["Softmax"] > 0
    assert step["MultiHeadAttention"] == unet["Softmax"]
    assert step["Softmax"] == 0
    assert step["Transpose"] < unet["Transpose"] / 3


def test_masked_attention_is_left_alone(exported: ExportResult) -> None:
    """The text encoder's attention is causal: a plain MultiHeadAttention would see what comes after."""
    model = ir.load(exported.bundle / "graphs/text_encoder.onnx")
    assert operators(model)["Softmax"] > 0
    assert fuse_attention(model) == 0
