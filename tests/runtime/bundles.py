"""Writes bundles so small that a test runs hundreds of pairs: real ONNX graphs around a linear toy U-Net.

With x the latents, W a channel mix, c the context's mean:

    e = W (s x) + 0.03 c          tap_fine = W (s x) + c          tap_coarse = tap_fine, pooled 2x2
    probability = sigmoid(gain * mean over channels of tap_fine + bias), repeated to image size
    image = round(127.5 + 60 * the first three channels), repeated to image size

One that blends also encodes: latents = E (image / 127.5 - 1), averaged over a latent cell's pixels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper

from seas_runtime.bundle.reading import Bundle, hash_files, write_manifest
from seas_runtime.engines.record import EngineIdentity
from seas_runtime.engines.store import EngineStore
from seas_runtime.manifest.schedule import Schedule
from seas_runtime.manifest.types import (
    GraphSpec,
    ImageGeometry,
    LatentGeometry,
    Licence,
    Manifest,
    SamplerDefaults,
    TensorSpec,
)
from seas_runtime.photographs.png import encode_png
from seas_runtime.placement.masks.shapes import Shape, pack_shapes

DEFECTS = ("broken_large", "stain")
CHANNELS, SIZE, FACTOR = 4, 6, 8
LENGTH, WIDTH = 5, 3
REFERENCES = 7
OPSET = 18
CONTEXTS = {"good": -8.0, "broken_large": 0.0, "stain": 0.1, "unconditional": -1.0}
_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
}


@dataclass(frozen=True)
class Toy:
    """What shapes a tiny bundle. The default mask is often empty, so that retries happen."""

    gain: float = 6.0
    bias: float = -5.0
    noise_input: bool = True
    unguided: bool = True
    weights_file: bool = False
    external_location: str = "weights.bin"
    blend: str = ""
    """`fixed` or `fresh`; bundles of earlier versions have none."""
    placement: bool = False
    """Whether there are shapes of its defects, and two photographs to draw into."""


def toy_schedules(blend: bool = False) -> list[Schedule]:
    """Return schedules that use every column, two of them without fresh noise."""
    kinds = (("dpmpp_2m", 5, 0.0), ("dpmpp_2m", 3, 0.0), ("ddim_eta", 4, 0.1))
    made = [_schedule(*kind) for kind in kinds]
    if not blend:
        return made
    columns = [np.linspace([0.3, 0.9], [0.95, 0.2], item.steps, dtype=np.float32) for item in made]  # r, n
    return [
        dataclasses.replace(item, table=np.concatenate([item.table, added], axis=1))
        for item, added in zip(made, columns, strict=True)
    ]


def _schedule(sampler: str, steps: int, fresh: float) -> Schedule:
    fraction = np.linspace(1, 0, steps, dtype=np.float32)
    table = np.zeros((steps, 8), np.float32)
    table[:, 0] = 900 * fraction
    table[:, 1] = 1 - 0.1 * fraction  # s
    table[:, 2] = 1 + 0.2 * fraction  # p
    table[:, 3] = -0.4 * fraction - 0.1  # q
    table[:, 4] = 0.7  # a
    table[:, 5] = 0.35  # b
    table[1:, 6] = -0.05  # c
    table[:, 7] = fresh * fraction  # d
    return Schedule(sampler, table, np.array([0.2, 0.95], np.float32))


def channel_mix() -> np.ndarray:
    """Return W [C, C]."""
    return np.random.default_rng(1).normal(0, 0.6, (CHANNELS, CHANNELS)).astype(np.float32)


def encoding() -> np.ndarray:
    """Return E [C, 3]."""
    return np.random.default_rng(3).normal(0, 0.8, (CHANNELS, 3)).astype(np.float32)


def toy_shapes() -> dict[str, np.ndarray]:
    """Return the table of two shapes a defect, of photographs that show a part on a background."""
    block, bar = np.ones((12, 10), bool), np.ones((4, 20), bool)
    made = {
        name: [Shape(block, (90, 120), (0.4, 0.6), 1.0), Shape(bar, (90, 120), (0.5, 0.3), 1.0)]
        for name in DEFECTS
    }
    return pack_shapes(made, True)


def toy_backgrounds() -> list[np.ndarray]:
    """Return two normals, uint16 [90, 120] and uint8 [90, 120, 3]: a dark plate on bright ground."""
    grey = np.random.default_rng(3).normal(200, 3, (90, 120))
    grey[15:75, 20:100] -= 140
    wide = np.clip(grey * 257, 0, 65535).astype(np.uint16)
    return [wide, np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)]


def write_tiny_bundle(path: Path, toy: Toy | None = None, **changes: Any) -> Path:
    """Write a tiny bundle to folder `path`; `changes` replace fields of its manifest."""
    toy = toy or Toy()
    (path / "graphs").mkdir(parents=True)
    (path / "tables").mkdir()
    graphs = {
        "step": _save(path, "step", _step_graph(toy), toy),
        **(
            {"step_unguided": _save(path, "step_unguided", _step_graph(toy, False), toy)}
            if toy.unguided
            else {}
        ),
        "decode_mask": _save(path, "decode_mask", _mask_graph(toy), toy),
        "decode_image": _save(path, "decode_image", _image_graph(), toy),
        **({"encode_image": _save(path, "encode_image", _encode_graph(), toy)} if toy.blend else {}),
    }
    rng = np.random.default_rng(2)
    embeddings = {
        key: (rng.normal(0, 0.01, (LENGTH, WIDTH)) + value).astype(np.float32)
        for key, value in CONTEXTS.items()
    }
    references = rng.normal(0, 1, (REFERENCES, CHANNELS, SIZE, SIZE)).astype(np.float32)
    made = toy_schedules(bool(toy.blend))
    schedules = {key: value for item in made for key, value in item.to_tensors().items()}
    tables = {"embeddings": embeddings, "schedule": schedules, "references": {"latents": references}}
    if toy.placement:
        tables["placement"] = toy_shapes()
        (path / "backgrounds").mkdir()
        for index, pixels in enumerate(toy_backgrounds()):
            (path / f"backgrounds/{index:03d}.png").write_bytes(encode_png(pixels))
    for name, tensors in tables.items():
        (path / f"tables/{name}.safetensors").write_bytes(safetensors.numpy.save(tensors))
    manifest = Manifest(
        product="bottle",
        defects=DEFECTS,
        image=ImageGeometry(SIZE * FACTOR, SIZE * FACTOR),
        latent=LatentGeometry(CHANNELS, SIZE, SIZE, 0.18215),
        preprocessing={"size": SIZE * FACTOR, "fit": "crop"},
        prompts={"good": "a <ob>", "broken_large": "a <ob> with <a>", "stain": "a <ob> with <b>"},
        unconditional="",
        sampler=SamplerDefaults("dpmpp_2m", 5, 8.0),
        generation={"mask_steps": 3, "tau": 0.2, **({"blend": toy.blend} if toy.blend else {})},
        precision="fp32",
        opset=OPSET,
        target="cpu",
        graphs=graphs,
        tables={name: f"tables/{name}.safetensors" for name in tables},
        parity={},
        files=hash_files(path),
        provenance={"base": "toy"},
        licences=(Licence("Apache-2.0", "the toy"),),
    )
    write_manifest(path, dataclasses.replace(manifest, **changes))
    return path


def _save(path: Path, name: str, graph: onnx.GraphProto, toy: Toy) -> GraphSpec:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 9
    file = f"graphs/{name}.onnx"
    if toy.weights_file and name == "step":
        weight = next(item for item in model.graph.initializer if item.name == "mix")
        (path / "graphs/weights.bin").write_bytes(weight.raw_data)
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=toy.external_location)
    (path / file).write_bytes(model.SerializeToString())
    return GraphSpec(file, _specs(graph.input), _specs(graph.output))


def _specs(values: Any) -> tuple[TensorSpec, ...]:
    names = {number: name for name, number in _TYPES.items()}
    return tuple(
        TensorSpec(
            value.name,
            names[value.type.tensor_type.elem_type],
            tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
        )
        for value in values
    )


def _value(name: str, dtype: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _TYPES[dtype], shape)


def _constant(name: str, value: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def _latents(name: str) -> onnx.ValueInfoProto:
    return _value(name, "float32", "batch", CHANNELS, SIZE, SIZE)


def _step_graph(toy: Toy, guided: bool = True) -> onnx.GraphProto:
    node = helper.make_node
    columns = ["t", "s", "p", "q", "a", "b", "c", "d", *(["r", "n"] if toy.blend else [])]
    x = "blended" if toy.blend else "latents"
    nodes = [
        node("Gather", ["schedule", "step_index"], ["row"], axis=0),
        node("Split", ["row"], columns, axis=1, num_outputs=len(columns)),
        *(_blend() if toy.blend else []),
        node("Mul", [x, "s"], ["scaled"]),
        node("Conv", ["scaled", "mix"], ["mixed"]),
        node("ReduceMean", ["context", "context_axes"], ["c_cond"], keepdims=0),
        node("Reshape", ["c_cond", "per_pair"], ["cond"]),
        node("Add", ["mixed", "cond"], ["tap_fine"]),
        node("AveragePool", ["tap_fine"], ["tap_coarse"], kernel_shape=[2, 2], strides=[2, 2]),
        *(_guidance() if guided else [node("Identity", ["cond"], ["sum"])]),
        node("Mul", ["sum", "share"], ["offset"]),
        node("Add", ["mixed", "offset"], ["e"]),
        node("Mul", [x, "p"], ["px"]),
        node("Mul", ["e", "q"], ["qe"]),
        node("Add", ["px", "qe"], ["x0"]),
        node("Mul", [x, "a"], ["ax"]),
        node("Mul", ["x0", "b"], ["bx0"]),
        node("Mul", ["previous_x0", "c"], ["cx0"]),
        node("Add", ["ax", "bx0"], ["ab"]),
        node("Add", ["ab", "cx0"], ["abc"]),
    ]
    if toy.noise_input:
        nodes += [node("Mul", ["noise", "d"], ["dn"]), node("Add", ["abc", "dn"], ["next_latents"])]
    else:
        nodes += [node("Identity", ["abc"], ["next_latents"])]
    inputs = [
        _latents("latents"),
        _latents("previous_x0"),
        _value("schedule", "float32", "steps", len(columns)),
        _value("step_index", "int64", 1),
        *([_value("guidance", "float32", 1)] if guided else []),
        _value("context", "float32", "batch", LENGTH, WIDTH),
        *([_value("negative_context", "float32", 1, LENGTH, WIDTH)] if guided else []),
        *([_latents("noise")] if toy.noise_input else []),
    ]
    if toy.blend:
        mask = _value("mask", "float32", "batch", 1, SIZE, SIZE)
        inputs += [mask, _latents("background"), _latents("blend_noise")]
    half = SIZE // 2
    outputs = [
        _latents("next_latents"),
        _latents("x0"),
        _value("tap_coarse", "float32", "batch", CHANNELS, half, half),
        _value("tap_fine", "float32", "batch", CHANNELS, SIZE, SIZE),
        *([_latents("blended")] if toy.blend else []),
    ]
    constants = [
        _constant("one", 1.0),
        _constant("mix", channel_mix()[:, :, None, None]),
        _constant("context_axes", [1, 2], np.int64),
        _constant("per_pair", [-1, 1, 1, 1], np.int64),
        _constant("share", 0.03),
    ]
    return helper.make_graph(nodes, "step", inputs, outputs, constants)


def _blend() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Mul", ["background", "r"], ["rb"]),
        node("Mul", ["blend_noise", "n"], ["nn"]),
        node("Add", ["rb", "nn"], ["noised"]),
        node("Sub", ["one", "mask"], ["outside"]),
        node("Mul", ["noised", "outside"], ["around"]),
        node("Mul", ["latents", "mask"], ["inside"]),
        node("Add", ["inside", "around"], ["blended"]),
    ]


def _guidance() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("ReduceMean", ["negative_context", "context_axes"], ["c_uncond"], keepdims=0),
        node("Reshape", ["c_uncond", "per_pair"], ["uncond"]),
        node("Sub", ["cond", "uncond"], ["difference"]),
        node("Mul", ["difference", "guidance"], ["guided"]),
        node("Add", ["uncond", "guided"], ["sum"]),
    ]


def _mask_graph(toy: Toy) -> onnx.GraphProto:
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["tap_fine", "channel_axis"], ["mean"], keepdims=1),
        node("Mul", ["mean", "gain"], ["scaled"]),
        node("Add", ["scaled", "bias"], ["logit"]),
        node("Sigmoid", ["logit"], ["small"]),
        node("Resize", ["small", "", "scales"], ["large"], mode="nearest"),
        node("Squeeze", ["large", "channel_axis"], ["map"]),
        # the other two inputs are part of the signature, so they take part, at no weight
        node("ReduceMean", ["latents"], ["all_latents"], keepdims=0),
        node("ReduceMean", ["tap_coarse"], ["all_coarse"], keepdims=0),
        node("Add", ["all_latents", "all_coarse"], ["all"]),
        node("Mul", ["all", "zero"], ["nothing"]),
        node("Add", ["map", "nothing"], ["probability"]),
    ]
    half = SIZE // 2
    inputs = [
        _latents("latents"),
        _value("tap_coarse", "float32", "batch", CHANNELS, half, half),
        _value("tap_fine", "float32", "batch", CHANNELS, SIZE, SIZE),
    ]
    constants = [
        _constant("channel_axis", [1], np.int64),
        _constant("gain", toy.gain),
        _constant("bias", toy.bias),
        _constant("scales", [1, 1, FACTOR, FACTOR]),
        _constant("zero", 0.0),
    ]
    outputs = [_value("probability", "float32", "batch", SIZE * FACTOR, SIZE * FACTOR)]
    return helper.make_graph(nodes, "decode_mask", inputs, outputs, constants)


def _image_graph() -> onnx.GraphProto:
    node = helper.make_node
    nodes = [
        node("Slice", ["latents", "zero", "three", "axis"], ["rgb"]),
        node("Resize", ["rgb", "", "scales"], ["large"], mode="nearest"),
        node("Transpose", ["large"], ["pixels"], perm=[0, 2, 3, 1]),
        node("Mul", ["pixels", "gain"], ["scaled"]),
        node("Add", ["scaled", "middle"], ["shifted"]),
        node("Clip", ["shifted", "low", "high"], ["clipped"]),
        node("Round", ["clipped"], ["rounded"]),
        node("Cast", ["rounded"], ["image"], to=TensorProto.UINT8),
    ]
    constants = [
        _constant("zero", [0], np.int64),
        _constant("three", [3], np.int64),
        _constant("axis", [1], np.int64),
        _constant("scales", [1, 1, FACTOR, FACTOR]),
        _constant("gain", 60.0),
        _constant("middle", 127.5),
        _constant("low", 0.0),
        _constant("high", 255.0),
    ]
    outputs = [_value("image", "uint8", "batch", SIZE * FACTOR, SIZE * FACTOR, 3)]
    return helper.make_graph(nodes, "decode_image", [_latents("latents")], outputs, constants)


def _encode_graph() -> onnx.GraphProto:
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        node("Transpose", ["levels"], ["turned"], perm=[0, 3, 1, 2]),
        node("Div", ["turned", "half"], ["stretched"]),
        node("Sub", ["stretched", "one"], ["pixels"]),
        node("AveragePool", ["pixels"], ["cells"], kernel_shape=[FACTOR] * 2, strides=[FACTOR] * 2),
        node("Conv", ["cells", "encoding"], ["latents"]),
    ]
    constants = [
        _constant("half", 127.5),
        _constant("one", 1.0),
        _constant("encoding", encoding()[:, :, None, None]),
    ]
    side = SIZE * FACTOR
    inputs = [_value("image", "uint8", "batch", side, side, 3)]
    return helper.make_graph(nodes, "encode_image", inputs, [_latents("latents")], constants)


def kept_engines(bundle: Path) -> list[EngineIdentity]:
    """Return what was compiled and kept beside a bundle."""
    store = EngineStore(bundle, Bundle.read(bundle).manifest)
    return [engine.identity for engine in store.engines()[0]]
