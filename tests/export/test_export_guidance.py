"""What guidance computes once: which nodes run once, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from seas_engines.graphs.guidance import divide
from seas_export.graphs.graph_builder import GraphBuilder
from seas_export.graphs.trace import UNET, Part, trace
from seas_export.methods.seas import compose as composing
from seas_export.methods.seas.compose import compose_step
from seas_export.methods.seas.parts import make_parts
from seas_train import Checkpoint
from tests.export.models import operators, outputs

OPSET = 20


@pytest.fixture(scope="module")
def unet(checkpoint: Checkpoint) -> ir.Model:
    part = next(part for part in make_parts(checkpoint) if part.name == UNET)
    return trace(part, OPSET)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_step_that_shares_is_a_step_that_does_not(
    unet: ir.Model, checkpoint: Checkpoint, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    geometry = checkpoint.geometry
    sides = (geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    words = (geometry.context_length, geometry.context_width)
    feed = {
        name: draw.standard_normal(shape).astype(np.float32)
        for name, shape in {
            "latents": (batch, *sides),
            "previous_x0": (batch, *sides),
            "schedule": (5, 10),
            "background": (batch, *sides),
            "blend_noise": (batch, *sides),
            "context": (batch, *words),
            "negative_context": (1, *words),
        }.items()
    }
    feed |= {"step_index": np.array([2]), "guidance": np.array([4.0], np.float32)}
    feed["mask"] = draw.integers(0, 2, (batch, 1, *sides[1:])).astype(np.float32)
    made = []
    for shares in (True, False):
        if not shares:
            monkeypatch.setattr(composing, "divide", lambda unet: None)
        model = compose_step(unet, geometry, ir.DataType.FLOAT, OPSET)
        made.append((outputs(model, **feed), operators(model)))
    (shared, its_nodes), (plain, nodes) = made
    for found, expected in zip(shared, plain, strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    # Nothing is computed another time: the nodes are the same, but for the repetitions.
    assert its_nodes - nodes == {"Concat": its_nodes["Concat"] - nodes["Concat"]}
    assert not nodes - its_nodes


def test_composing_names_everything_the_same_every_time(unet: ir.Model, checkpoint: Checkpoint) -> None:
    written = {
        ir.to_proto(compose_step(unet, checkpoint.geometry, ir.DataType.FLOAT, OPSET)).graph.node.__repr__()
        for _ in range(3)
    }
    assert len(written) == 1


class Reader(nn.Module):
    """A U-Net in three lines: what comes before the text, the text, and what comes after."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, latents: torch.Tensor, context: torch.Tensor) -> tuple[torch.Tensor, ...]:
        before = self.first(latents).sigmoid()
        if self.kind == "steered":
            mixed = context.mean(0, keepdim=True).expand(latents.shape[0], -1) * before
        else:
            mixed = context * before
        after = self.last(mixed)
        return (after, before) if self.kind == "unread output" else (after, after + before)


@pytest.mark.parametrize("kind", ["plain", "steered", "unread output"])
def test_where_nothing_can_be_shared_nothing_is(kind: str) -> None:
    inputs = {"latents": torch.randn(2, 4), "context": torch.randn(2, 4)}
    model = trace(Part("p", Reader(kind), inputs, ("after", "rest"), ("latents", "context")), OPSET)
    division = divide(model)
    if kind != "plain":
        assert division is None
        return
    assert division is not None
    build = GraphBuilder("g", OPSET)
    given = {name: build.input(name, ir.DataType.FLOAT, ["batch", 4]) for name in ("latents", "context")}
    made = build.inline(model, given, division)
    shape: list[int | str] = ["batch", 4]
    joined = build.build({name: (value, ir.DataType.FLOAT, shape) for name, value in made.items()})
    assert operators(joined) == operators(model) | {"Concat": 1}  # of one value, read in two places
    latents, context = (
        np.random.default_rng(0).standard_normal(size).astype(np.float32) for size in ((3, 4), (6, 4))
    )
    found = outputs(joined, latents=latents, context=context)
    expected = outputs(model, latents=np.concatenate([latents, latents]), context=context)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() < 1e-6
