"""Operations counted from graphs, against the same counts by hand and by PyTorch's own counter."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from operations import count_graph, count_pair
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seas_export.export import ExportResult
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed
from seas_train import Checkpoint


def save(
    folder: Path, nodes: list[onnx.NodeProto], values: dict[str, list[int | str]], inputs: list[str]
) -> Path:
    infos = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()
    }
    outputs = [nodes[-1].output[0]]
    graph = helper.make_graph(nodes, "g", [infos[name] for name in inputs], [infos[name] for name in outputs])
    graph.value_info.extend(info for name, info in infos.items() if name not in (*inputs, *outputs))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    file = folder / "g.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets), file)
    return file


@pytest.mark.parametrize(
    ("node", "shapes", "expected"),
    [
        (
            helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], group=2),
            {"x": ["batch", 8, 10, 10], "w": [6, 4, 3, 3], "y": ["batch", 6, 10, 10]},
            2 * 6 * 100 * 4 * 9,
        ),
        (
            helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
            {"x": ["batch", 8, 10, 10], "w": [8, 6, 2, 2], "y": ["batch", 6, 20, 20]},
            2 * 8 * 100 * 6 * 4,
        ),
        (
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            {"x": ["batch", 3, 7, 5], "w": ["batch", 3, 5, 11], "y": ["batch", 3, 7, 11]},
            2 * 3 * 7 * 11 * 5,
        ),
        (
            helper.make_node("Gemm", ["x", "w"], ["y"], transA=1),
            {"x": [5, 7], "w": [5, 11], "y": [7, 11]},
            2 * 7 * 11 * 5,
        ),
        (
            helper.make_node(
                "MultiHeadAttention", ["x", "w", "w"], ["y"], domain="com.microsoft", num_heads=4
            ),
            {"x": ["batch", 64, 32], "w": ["batch", 16, 32], "y": ["batch", 64, 32]},
            2 * 2 * 64 * 16 * 32,
        ),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_one_node_by_hand(
    tmp_path: Path, node: onnx.NodeProto, shapes: dict[str, list[int | str]], expected: int
) -> None:
    counted = count_graph(save(tmp_path, [node], shapes, ["x", "w"]))
    assert dict(counted.by_kind) == {node.op_type: expected}


def test_joined_halves_are_two_items_until_they_are_parted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["once"]),
        helper.make_node("Concat", ["once", "once"], ["joined"], axis=0),
        helper.make_node("MatMul", ["joined", "w"], ["twice"]),
        helper.make_node("Concat", ["w", "w"], ["wide"], axis=0),  # not along a batch
        helper.make_node("Split", ["twice"], ["left", "right"], axis=0, num_outputs=2),
        helper.make_node("Concat", ["left", "right"], ["long"], axis=1),
        helper.make_node("MatMul", ["long", "wide"], ["y"]),
    ]
    half: list[int | str] = ["batch", 4]
    values = {name: half for name in ("x", "once", "joined", "twice", "left", "right", "y")}
    file = save(tmp_path, nodes, {**values, "w": [4, 4], "wide": [8, 4], "long": ["batch", 8]}, ["x", "w"])
    assert count_graph(file).total == 2 * 16 + 2 * 2 * 16 + 2 * 32


def test_a_missing_shape_is_no_zero(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Unheard", ["x"], ["h"], domain="com.microsoft"),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    file = save(tmp_path, nodes, {"x": [1, 4], "w": [4, 4], "y": [1, 4]}, ["x", "w"])
    with pytest.raises(CheckFailed, match=r"MatMul .* cannot be counted"):
        count_graph(file)


SHARED = re.compile(
    r"UNet2DConditionModel\.(conv_in|time_embedding|.*\.time_emb_proj|down_blocks\.0\.resnets\.0\.conv[12]"
    r"|down_blocks\.0\.attentions\.0\.(proj_in|transformer_blocks\.0\.(attn1|attn2\.to_q)))"
)
"""Of a U-Net: what lies before the text is read for the first time."""


@pytest.mark.parametrize("name", ["unet", "vae_decoder", "step", "step_unguided", "decode_image"])
def test_as_pytorch_counts(exported: ExportResult, checkpoint: Checkpoint, name: str) -> None:
    geometry = checkpoint.geometry
    latents = torch.randn(1, geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    context = torch.randn(1, geometry.context_length, geometry.context_width)
    # PyTorch's counter does not know the CPU's fused attention; it does know what that consists of.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        if name in ("unet", "step", "step_unguided"):
            checkpoint.unet(latents, 10, context)
        else:
            checkpoint.vae.decode(latents)
    expected = counter.get_total_flops()
    if name == "step":
        by_module = {module: sum(kinds.values()) for module, kinds in counter.get_flop_counts().items()}
        shared = [count for module, count in by_module.items() if SHARED.fullmatch(module)]
        assert len(shared) > 8
        expected = 2 * expected - sum(shared)
    counted = count_graph(exported.bundle / "graphs" / f"{name}.onnx").total
    assert counted == pytest.approx(expected, rel=0.01)


def test_a_pair_is_the_sum_of_its_graphs(exported: ExportResult) -> None:
    manifest = Bundle.read(exported.bundle, verify=False).manifest
    counted = count_pair(exported.bundle, manifest, steps=10)
    graphs = counted.graphs
    assert graphs["step_unguided"] == pytest.approx(graphs["unet"], rel=1e-6)
    assert 1.5 * graphs["unet"] < graphs["step"] < 2 * graphs["unet"]
    assert counted.ours == 10 * graphs["step"] + 3 * graphs["decode_mask"] + graphs["decode_image"]
    authors = 20 * graphs["unet"] + 4 * graphs["vae_decoder"] + 3 * graphs["mask_head"]
    assert counted.authors == authors > counted.ours
    assert counted.decode_share == graphs["decode_mask"] / (graphs["decode_image"] + graphs["mask_head"]) < 1
    assert counted.to_dict()["tflop_per_pair"] == round(counted.ours / 1e12, 6)
