"""Convolutions in Winograd's form: its algebra, which of them get it, and that results stay as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from seas_runtime.backends.cores import processor_flags
from seas_runtime.backends.openvino.importing import import_openvino
from seas_runtime.backends.openvino.winograd import DOUBLED, SAME, Form, product_factors, to_bfloat16

pytest.importorskip("openvino")
from seas_runtime.backends.openvino import convolutions as openvino_convolutions
from seas_runtime.backends.openvino import cpu as openvino_cpu
from seas_runtime.backends.openvino.convolutions import use_winograd
from seas_runtime.generation.generator import Generator
from tests.runtime.bundles import kept_engines

WIDE = 192
"""Channels enough to gain by it."""


def tile_outputs(form: Form, values: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Convolve `values` along one axis as the form says; zeros surround them."""
    around = np.concatenate([[0.0], values, np.zeros(4)])
    factors = form.factors @ taps
    made = []
    for tile in range(len(values) // form.stride):
        begin = form.stride * tile
        products = [
            factor * sum(sign * around[begin + one.first + k * one.apart] for k, sign in enumerate(one.signs))
            for one, factor in zip(form.products, factors, strict=True)
        ]
        made += [np.dot(signs, products) for signs in form.outputs]
    return np.array(made)


def test_both_forms_convolve() -> None:
    values, taps = np.random.default_rng(0).standard_normal((2, 12)).astype(np.float32)
    taps = taps[:3]
    np.testing.assert_allclose(
        tile_outputs(SAME, values, taps), np.convolve(values, taps[::-1], "same"), rtol=1e-5, atol=1e-6
    )
    phases = np.array([taps[0], taps[1] + taps[2], taps[0] + taps[1], taps[2]])
    np.testing.assert_allclose(
        tile_outputs(DOUBLED, values, phases),
        np.convolve(values.repeat(2), taps[::-1], "same"),
        rtol=1e-5,
        atol=1e-6,
    )


def test_the_factors_of_an_image_are_those_of_its_rows_and_columns() -> None:
    taps = np.random.default_rng(1).standard_normal((2, 5, 3, 3)).astype(np.float32)
    factors = product_factors(SAME.factors, taps)
    assert factors.shape == (4, 4, 2, 5)
    for row, column in product(range(4), range(4)):
        expected = np.einsum("oirc,r,c->oi", taps, SAME.factors[row], SAME.factors[column])
        np.testing.assert_allclose(factors[row, column], expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_the_nearest_with_ties_to_even() -> None:
    one, step = 0x3F80, 2.0**-7  # 1.0, and how far bfloat16 is from the next
    given = np.array([1, 1 + step * 0.49, 1 + step / 2, 1 + step * 0.51, 1 + step * 1.5, -1], np.float32)
    assert to_bfloat16(given).tolist() == [one, one, one, one + 1, one + 2, one | 0x8000]


@pytest.mark.parametrize(
    ("machine", "flags", "half", "pays"),
    [
        ("x86_64", {"avx512_bf16"}, True, True),
        ("AMD64", set(), True, False),  # not known
        ("AMD64", set(), False, True),
        ("x86_64", {"avx512_bf16", "amx_bf16"}, True, False),
        ("x86_64", {"avx512_bf16", "amx_bf16"}, False, True),
        ("aarch64", {"asimd"}, False, False),
    ],
)
def test_processors_where_it_was_not_measured_compute_directly(
    machine: str,
    flags: set[str],
    half: bool,
    pays: bool,
    own_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino_cpu.platform, "machine", lambda: machine)
    monkeypatch.setattr(openvino_cpu, "processor_flags", lambda file: frozenset(flags))
    assert openvino_cpu.winograd_pays(half) == pays
    if half:
        return
    written: list[bool] = []
    monkeypatch.setattr(openvino_convolutions, "use_winograd", lambda model, half: written.append(half) or 0)
    next(Generator.open(own_bundle, "openvino:fp32", threads=1).generate("stain", 1))
    assert written == ([False] * 3 if pays else [])
    saved = [item.options["convolutions"] for item in kept_engines(own_bundle)]
    assert saved == [openvino_cpu.FORM if pays else "direct"] * 3
    monkeypatch.setattr(openvino_cpu, "FORM", "another form")
    monkeypatch.setattr(openvino_cpu, "winograd_pays", lambda half: True)
    next(Generator.open(own_bundle, "openvino:fp32", threads=1).generate("stain", 1))
    saved = [item.options["convolutions"] for item in kept_engines(own_bundle)]
    assert saved == ["another form"] * 3  # in the place of what was kept


def test_convolutions_stay_direct_where_writing_them_fails(
    own_bundle: Path,
    generator: Generator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(model: Any, half: bool) -> int:
        for node in model.get_ordered_ops():  # half done: the graph is not what it was
            for port in node.outputs():
                port.set_names(set())
        raise AttributeError("'Node' object has no attribute 'input_value'")

    monkeypatch.setattr(openvino_cpu, "winograd_pays", lambda half: True)
    monkeypatch.setattr(openvino_convolutions, "use_winograd", fail)
    made = next(Generator.open(own_bundle, "openvino:fp32", threads=1).generate("stain", 1))
    assert np.abs(made.image.astype(int) - next(generator.generate("stain", 1)).image).max() <= 1
    assert "convolutions stay as they are: 'Node' object has no attribute" in caplog.text


class Graph:
    """A small ONNX graph on an image x [B,C,H,W] of any B."""

    def __init__(self, channels: int, size: tuple[int, int] = (8, 6), dtype: int = TensorProto.FLOAT) -> None:
        self.rng = np.random.default_rng(2)
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.input = helper.make_tensor_value_info("x", dtype, ["batch", channels, *size])
        self.shape = (channels, *size)

    def constant(self, array: np.ndarray) -> str:
        array = array.astype(helper.tensor_dtype_to_np_dtype(self.dtype))
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return str(self.constants[-1].name)

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [f"t{len(self.nodes)}"], **attributes))
        return str(self.nodes[-1].output[0])

    def kernel(self, outputs: int, inputs: int) -> np.ndarray:
        return (self.rng.standard_normal((outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)).astype(np.float32)

    def convolution(self, x: str, kernel: np.ndarray, bias: bool = True, **attributes: Any) -> str:
        biases = [self.constant(self.rng.standard_normal(len(kernel)))] if bias else []
        given = {"pads": [1, 1, 1, 1], **attributes}
        return self.add("Conv", [x, self.constant(kernel), *biases], **given)

    def doubled(self, x: str, kernel: np.ndarray, biases: Sequence[np.ndarray | None]) -> str:
        """Add an upsampling by two and a convolution, written as four phases."""
        merged = [
            lambda taps, axis: np.stack([taps.take(0, axis), taps.take(1, axis) + taps.take(2, axis)], axis),
            lambda taps, axis: np.stack([taps.take(0, axis) + taps.take(1, axis), taps.take(2, axis)], axis),
        ]
        phases = []
        for (row, column), bias in zip(product((0, 1), repeat=2), biases, strict=True):
            inputs = [x, self.constant(merged[column](merged[row](kernel, 2), 3))]
            inputs += [] if bias is None else [self.constant(bias)]
            phases.append(self.add("Conv", inputs, pads=[1 - row, 1 - column, row, column]))
        return self.add("DepthToSpace", [self.add("Concat", phases, axis=1)], blocksize=2, mode="DCR")

    def write(self, folder: Path, *outputs: str) -> Path:
        made = [helper.make_tensor_value_info(name, self.dtype, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", [self.input], made, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        save(model, folder / "graph.onnx")
        return folder / "graph.onnx"


def kinds(model: Any) -> Counter[str]:
    """Count what kinds of convolution a model has, by their taps: `3x3`."""
    shapes = [
        node.input_value(1).get_partial_shape().to_shape()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    ]
    return Counter(f"{shape[2]}x{shape[3]}" for shape in shapes)


def outcomes(model: Any, x: np.ndarray, precision: str = "f32") -> dict[str, np.ndarray]:
    """Run a model; return its outputs by name."""
    compiled = import_openvino().Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return {port.get_any_name(): np.array(value) for port, value in compiled(x).items()}


def check(file: Path, graph: Graph, expected: dict[str, int], written: int, close: float = 2e-5) -> None:
    """Check that so many convolutions are written anew, those are left, and every output stays as it was."""
    core = import_openvino().Core()
    x = np.random.default_rng(3).standard_normal((3, *graph.shape)).astype(np.float32)
    if graph.dtype == TensorProto.FLOAT16:
        x = x.astype(np.float16)
    before = outcomes(core.read_model(str(file)), x)
    model = core.read_model(str(file))
    assert use_winograd(model, half=False) == written
    assert kinds(model) == expected
    after = outcomes(model, x)
    assert list(after) == list(before)
    for name, array in before.items():
        assert np.abs(after[name] - array).max() <= close * np.abs(array).max(), name
        assert array.std() > 0.1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(8, 6), (2, 2), (4, 130)])
def test_a_convolution_keeps_its_results(tmp_path: Path, bias: bool, size: tuple[int, int]) -> None:
    graph = Graph(WIDE, size)
    made = graph.convolution("x", graph.kernel(WIDE + 16, WIDE), bias)
    check(graph.write(tmp_path, made), graph, {"1x1": 16}, written=1)
    model = import_openvino().Core().read_model(str(tmp_path / "graph.onnx"))
    use_winograd(model, half=False)
    added = [node for node in model.get_ordered_ops() if node.get_type_name() == "Add"]
    biased = [node for node in added if node.input_value(1).get_node().get_type_name() == "Constant"]
    # One product's convolution has it, so that no node adds it to every pixel.
    assert [node.output(0).get_partial_shape()[2].get_length() for node in biased] == [size[0] // 2] * bias


def test_convolutions_one_behind_the_other_and_what_stands_between(tmp_path: Path) -> None:
    graph = Graph(WIDE)
    first = graph.convolution("x", graph.kernel(WIDE, WIDE))
    second = graph.convolution(first, graph.kernel(WIDE, WIDE), bias=False)
    third = graph.convolution(graph.add("Add", [second, "x"]), graph.kernel(WIDE, WIDE))
    flat = graph.add("Reshape", [third, graph.add("Shape", [second])])  # asks for its shape alone
    last = graph.add("Mul", [flat, graph.add("Sigmoid", [second])])
    check(graph.write(tmp_path, first, third, last), graph, {"1x1": 48}, written=3)


def test_a_sum_of_two_convolutions_is_no_bias(tmp_path: Path) -> None:
    graph = Graph(WIDE)
    one = graph.convolution("x", graph.kernel(WIDE, WIDE), bias=False)
    other = graph.convolution("x", graph.kernel(WIDE, WIDE), bias=False)
    summed = graph.add("Add", [one, other])
    twice = graph.add("Add", [one, one])
    check(graph.write(tmp_path, summed, twice), graph, {"1x1": 32}, written=2)


def test_a_bias_that_only_some_readers_see_stays_outside(tmp_path: Path) -> None:
    graph = Graph(WIDE)
    plain = graph.convolution("x", graph.kernel(WIDE, WIDE), bias=False)
    biased = graph.add("Add", [plain, graph.constant(graph.rng.standard_normal((1, WIDE, 1, 1)))])
    check(graph.write(tmp_path, plain, biased), graph, {"1x1": 16}, written=1)


def test_a_bias_for_every_pixel_stays_outside(tmp_path: Path) -> None:
    graph = Graph(WIDE)
    plain = graph.convolution("x", graph.kernel(WIDE, WIDE), bias=False)
    biased = graph.add("Add", [plain, graph.constant(graph.rng.standard_normal((1, WIDE, 8, 6)))])
    check(graph.write(tmp_path, biased), graph, {"1x1": 16}, written=1)


def test_an_upsampling_keeps_its_results(tmp_path: Path) -> None:
    graph = Graph(WIDE, (5, 3))  # tiles of one pixel: odd sizes do
    bias = graph.rng.standard_normal(WIDE)
    made = graph.doubled("x", graph.kernel(WIDE, WIDE), [bias] * 4)
    bare = graph.doubled("x", graph.kernel(WIDE, WIDE), [None] * 4)
    check(graph.write(tmp_path, made, bare), graph, {"1x1": 18}, written=2)


def test_phases_that_are_no_upsampling_stay(tmp_path: Path) -> None:
    graph = Graph(WIDE, (4, 4))
    bias, other = graph.rng.standard_normal((2, WIDE))
    kernel = graph.kernel(WIDE, WIDE)
    uneven = graph.doubled("x", kernel, [bias, bias, bias, other])
    without_one = graph.doubled("x", kernel, [bias, None, bias, bias])
    shifted = graph.doubled("x", kernel, [bias] * 4)
    for node in graph.nodes[-4:]:
        if node.op_type == "Conv":
            pads = next(item for item in node.attribute if item.name == "pads")
            pads.ints[:] = [1, 1, 0, 0]
    pads = ([1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0])
    three = [graph.convolution("x", kernel[:, :, :2, :2], pads=one) for one in pads]
    joined = graph.add("Concat", [*three, "x"], axis=1)
    spread = graph.add("DepthToSpace", [joined], blocksize=2, mode="DCR")
    check(graph.write(tmp_path, uneven, without_one, shifted, spread), graph, {"2x2": 15}, written=0)


def test_phases_of_no_one_kernel_and_phases_joined_elsewhere_stay(tmp_path: Path) -> None:
    graph = Graph(WIDE, (4, 4))
    pads = [[1 - row, 1 - column, row, column] for row, column in product((0, 1), repeat=2)]
    phases = [graph.convolution("x", graph.kernel(WIDE, WIDE)[:, :, :2, :2], pads=one) for one in pads]
    joined = graph.add("Concat", phases, axis=1)
    others = graph.add("DepthToSpace", [joined], blocksize=2, mode="DCR")
    whole = graph.doubled("x", graph.kernel(WIDE, WIDE), [None] * 4)
    graph.nodes[-2].attribute[0].i = 0  # joined along the batch
    check(graph.write(tmp_path, others, whole), graph, {"2x2": 8}, written=0)


@pytest.mark.parametrize(
    ("channels", "size", "attributes", "taps"),
    [
        (WIDE - 8, (8, 6), {}, 3),  # too few channels
        (WIDE, (7, 6), {}, 3),  # no whole tiles
        (WIDE, (8, 6), {"strides": [2, 2]}, 3),
        (WIDE, (8, 6), {"dilations": [2, 2], "pads": [2, 2, 2, 2]}, 3),
        (WIDE, (8, 6), {"pads": [0, 0, 0, 0]}, 3),
        (WIDE, (8, 6), {"pads": [0, 0, 0, 0]}, 1),
    ],
)
def test_other_convolutions_stay(
    tmp_path: Path, channels: int, size: tuple[int, int], attributes: dict[str, Any], taps: int
) -> None:
    graph = Graph(channels, size)
    kernel = graph.kernel(channels, channels)[:, :, :taps, :taps]
    made = graph.convolution("x", kernel, **attributes)
    check(graph.write(tmp_path, made), graph, {f"{taps}x{taps}": 1}, written=0)


def test_an_image_of_unknown_size_and_computed_weights_stay(tmp_path: Path) -> None:
    graph = Graph(WIDE)
    made = graph.convolution("x", graph.kernel(WIDE, WIDE))
    graph.input.type.tensor_type.shape.dim[2].dim_param = "height"
    check(graph.write(tmp_path, made), graph, {"3x3": 1}, written=0)
    graph = Graph(WIDE)
    taps = graph.add("ReduceMean", ["x"], keepdims=1)
    weights = graph.add("Mul", [taps, graph.constant(graph.kernel(WIDE, WIDE))])
    made = graph.add("Conv", ["x", weights], pads=[1, 1, 1, 1])
    file = graph.write(tmp_path, made)
    assert use_winograd(import_openvino().Core().read_model(str(file)), half=False) == 0


def test_a_graph_in_half_precision(tmp_path: Path) -> None:
    graph = Graph(WIDE, dtype=TensorProto.FLOAT16)
    made = graph.convolution("x", graph.kernel(WIDE, WIDE))
    check(graph.write(tmp_path, made), graph, {"1x1": 16}, written=1, close=2e-3)


def test_in_float32_convolutions_of_many_weights_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_convolutions, "MOST_FACTORS_IN_FULL", 16 * WIDE * WIDE)
    graph = Graph(WIDE)
    few = graph.convolution("x", graph.kernel(WIDE, WIDE))
    many = graph.convolution(few, graph.kernel(WIDE + 1, WIDE))
    file = graph.write(tmp_path, many)
    check(file, graph, {"1x1": 16, "3x3": 1}, written=1)
    assert use_winograd(import_openvino().Core().read_model(str(file)), half=True) == 2


def test_in_bfloat16_it_is_as_near_as_the_direct_form(tmp_path: Path) -> None:
    if not processor_flags(Path("/proc/cpuinfo")) & {"avx512_bf16", "amx_bf16"}:
        pytest.skip("the processor has no bfloat16 products")
    graph = Graph(256, (16, 16))
    made = graph.convolution("x", graph.kernel(256, 256))
    bias = graph.rng.standard_normal(256)
    large = graph.doubled(graph.add("Sigmoid", [made]), graph.kernel(256, 256), [bias] * 4)
    file = graph.write(tmp_path, made, large)
    core = import_openvino().Core()
    x = np.random.default_rng(4).standard_normal((2, *graph.shape)).astype(np.float32)
    exact = outcomes(core.read_model(str(file)), x)
    direct = outcomes(core.read_model(str(file)), x, "bf16")
    model = core.read_model(str(file))
    assert use_winograd(model, half=True) == 2
    ours = outcomes(model, x, "bf16")
    for name, array in exact.items():
        assert ours[name].dtype == np.float32
        error = np.abs(ours[name] - array).mean()
        assert 0 < error < 3 * np.abs(direct[name] - array).mean(), name
