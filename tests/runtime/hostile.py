"""Makes bundles as an attacker would: the tiny one, changed, with all hashes of its manifest right again."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import safetensors.numpy
from google.protobuf.descriptor import FieldDescriptor
from onnx import TensorProto, helper, numpy_helper

from seas_runtime.bundle.reading import hash_files
from seas_runtime.placement.masks.shapes import Shape, pack_shapes

Attack = Callable[[Path], None]
STEP, DECODE = "graphs/step.onnx", "graphs/decode_image.onnx"
_KINDS = {FieldDescriptor.TYPE_FLOAT: 5}
_INTEGERS = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM)


def varint(value: int, more: int = 0) -> bytes:
    """Return an integer as protobuf has it, with `more` bytes that it does not need."""
    value &= (1 << 64) - 1
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    for _ in range(more):
        made[-1] |= 0x80
        made.append(0)
    return bytes(made)


class Writer:
    """Writes a model as protobuf does, but for one field, at the `place`-th of its kind, in form `form`."""

    def __init__(self, target: str = "", form: str = "") -> None:
        self.target, self.form, self.seen, self.done = target, form, set[str](), False

    def message(self, message: Any) -> bytes:
        made = b""
        for field, value in message.ListFields():
            for item in value if field.is_repeated else [value]:
                made += self._field(message.DESCRIPTOR.name, field, item)
        return made

    def _field(self, owner: str, field: Any, value: Any) -> bytes:
        if field.type == field.TYPE_MESSAGE:
            kind, content = 2, self.message(value)
        elif field.type in _INTEGERS:
            kind, content = 0, b""
        elif field.type == field.TYPE_FLOAT:
            kind, content = 5, np.float32(value).tobytes()
        else:
            kind, content = 2, value.encode() if isinstance(value, str) else value
        name = f"{owner}.{field.name}"
        self.seen.add(name)
        form = self.form if name == self.target and not self.done else ""
        self.done |= bool(form)
        tag = field.number << 3 | kind
        before = after = b""
        if form == "tag beyond 32 bits":
            tag += 1 << 32
        elif form == "tag beyond 35 bits":
            tag += 1 << 40
        elif form == "another type":
            tag, kind, content = field.number << 3 | 1, 1, bytes(8)
        elif form == "in a group":
            before, after = varint(1000 << 3 | 3), varint(1000 << 3 | 4)
        elif form == "an unknown field before":
            before = varint(1000 << 3) + b"\1"
        written = varint(tag, form == "long tag")
        if kind == 0:
            written += varint(int(value), form == "long value")
        elif kind == 2:
            written += varint(len(content), form == "long value") + content
        else:
            written += content
        if form == "twice" and not field.is_repeated:
            after = written
        elif form == "twice":
            before = varint(1000 << 3 | 2) + b"\0"
        return before + written + after


FORMS = (
    "tag beyond 32 bits",
    "tag beyond 35 bits",
    "long tag",
    "long value",
    "another type",
    "in a group",
    "an unknown field before",
    "twice",
)


def fields_of(model: onnx.ModelProto) -> list[str]:
    """Return every field that a model has, by message."""
    writer = Writer()
    assert writer.message(model) == model.SerializeToString()
    return sorted(writer.seen)


def forms(bundle: Path) -> Iterator[tuple[str, Attack]]:
    """Yield every field of the step graph in every form but its own."""
    model = onnx.load(bundle / STEP, load_external_data=False)
    for field in fields_of(model):
        for form in FORMS:
            data = Writer(field, form).message(model)
            if data != model.SerializeToString():
                yield f"{field}: {form}", replaced(STEP, data)


def rehash(bundle: Path) -> None:
    """List all files with the hashes that they have now."""
    values = json.loads((bundle / "manifest.json").read_text())
    values["files"] = {
        name: {"sha256": entry.sha256, "size": entry.size} for name, entry in hash_files(bundle).items()
    }
    (bundle / "manifest.json").write_text(json.dumps(values))


def replaced(name: str, data: bytes) -> Attack:
    def attack(bundle: Path) -> None:
        (bundle / name).write_bytes(data)
        rehash(bundle)

    return attack


def remodelled(change: Callable[[onnx.ModelProto], Any], name: str = STEP) -> Attack:
    def attack(bundle: Path) -> None:
        model = onnx.load(bundle / name, load_external_data=False)
        change(model)
        replaced(name, model.SerializeToString())(bundle)

    return attack


def described(change: Callable[[dict[str, Any]], Any]) -> Attack:
    def attack(bundle: Path) -> None:
        values = json.loads((bundle / "manifest.json").read_text())
        change(values)
        (bundle / "manifest.json").write_text(json.dumps(values))

    return attack


def entries(**told: str) -> Attack:
    """Return what changes where the step's weights are said to lie; an empty text removes an entry."""

    def change(model: onnx.ModelProto) -> None:
        (weight,) = (item for item in model.graph.initializer if item.external_data)
        values = {item.key: item.value for item in weight.external_data} | told
        del weight.external_data[:]
        for key, value in values.items():
            if value:
                weight.external_data.add(key=key, value=value)

    return remodelled(change)


def locations() -> Iterator[tuple[str, Attack]]:
    for location in (
        "*/_ORT_MEM_ADDR_/*",
        ".DS_Store",
        "._weights.bin",
        "../engines/x.bin",
        "../tables/references.safetensors",
        "../../outside.bin",
        "/etc/passwd",
        "/proc/self/mem",
        "./weights.bin",
        "x/../weights.bin",
        "weights.bin/",
        "weights.bin\0.txt",
        "weights.bin ",
        "WEIGHTS.BIN",
        "step.onnx",
        "missing.bin",
    ):

        def attack(bundle: Path, location: str = location) -> None:
            (bundle / "graphs/.DS_Store").write_bytes(bytes(64))
            (bundle / "engines").mkdir()
            os.link(bundle / "graphs/weights.bin", bundle / "engines/x.bin")
            entries(location=location)(bundle)

        yield f"weights in {location!r}", attack
    for told in (
        {"offset": "4096"},
        {"offset": "-4"},
        {"offset": "0x0"},
        {"offset": "00"},
        {"offset": "1"},
        {"offset": "18446744073709551616"},
        {"length": "8"},
        {"length": "99999999999999"},
        {"checksum": "0"},
        {"location": ""},
    ):
        yield f"weights with {told}", entries(**told)


def grown(*nodes: onnx.NodeProto, **constants: Any) -> Attack:
    """Return what adds nodes to the image's graph, from `latents` to `more`, whose mean it adds to `rgb`."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        for name, value in constants.items():
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        tail = [
            helper.make_node("ReduceMean", ["more"], ["mean_of_more"], keepdims=0),
            helper.make_node("Mul", ["mean_of_more", "none"], ["nothing"]),
            helper.make_node("Add", ["latents_", "nothing"], ["latents__"]),
        ]
        old = list(graph.node)
        old[0].input[0] = "latents__"
        graph.initializer.append(numpy_helper.from_array(np.float32(0), "none"))
        first = helper.make_node("Identity", ["latents"], ["latents_"])
        del graph.node[:]
        graph.node.extend([first, *nodes, *tail, *old])

    return remodelled(change, DECODE)


def operators() -> Iterator[tuple[str, Attack]]:
    node = helper.make_node
    huge = np.array([1700, 1000, 1000], np.int64)
    body = helper.make_graph([], "body", [], [])
    one = numpy_helper.from_array(np.zeros(1, np.float32))
    yield "6.9 GB of one constant", grown(node("ConstantOfShape", ["n"], ["more"], value=one), n=huge)
    yield "an endless loop", grown(node("Loop", ["n", ""], ["more"], body=body), n=np.int64(2**62))
    yield "a branch", grown(node("If", ["b"], ["more"], then_branch=body, else_branch=body), b=np.True_)
    yield "a scan", grown(node("Scan", ["latents"], ["more"], body=body, num_scan_inputs=1))
    for op in ("Tile", "RandomNormalLike", "NonZero", "StringNormalizer", "SequenceConstruct", "Unheard"):
        yield f"operator {op}", grown(node(op, ["latents"], ["more"]))
    for domain in ("ai.onnx.ml", "com.microsoft", "evil", "ai.onnx"):
        yield f"a domain {domain}", grown(node("Add", ["latents", "latents"], ["more"], domain=domain))
    yield "an attribute", grown(node("Relu", ["latents"], ["more"], evil=1))
    yield "expanded", grown(node("Expand", ["x", "n"], ["more"]), x=np.float32(0), n=huge)
    numbers = (np.float32(0), np.float32(2e9), np.float32(1))
    yield "a range", grown(node("Range", list("abc"), ["more"]), **dict(zip("abc", numbers, strict=True)))
    scales = np.array([1, 1, 3000, 3000], np.float32)
    yield "resized", grown(node("Resize", ["latents", "", "n"], ["more"], mode="nearest"), n=scales)
    pads = np.array([0, 0, 0, 0, 0, 0, 20000, 20000], np.int64)
    yield "padded", grown(node("Pad", ["latents", "n"], ["more"]), n=pads)
    doubling = [node("Concat", [f"d{i}", f"d{i}"], [f"d{i + 1}"], axis=0) for i in range(40)]
    yield (
        "doubled forty times",
        grown(node("Identity", ["latents"], ["d0"]), *doubling, node("Identity", ["d40"], ["more"])),
    )
    column = np.array([-1, 1], np.int64)
    row = np.array([1, -1], np.int64)
    wide = [
        node("Pad", ["latents", "n"], ["w"]),
        node("Reshape", ["w", "column"], ["c"]),
        node("Reshape", ["w", "row"], ["r"]),
    ]
    some = np.array([0, 0, 0, 0, 0, 0, 100, 100], np.int64)
    for op in ("MatMul", "Add", "Mul", "Equal"):
        last = [node(op, ["c", "r"], ["o"]), node("Cast", ["o"], ["more"], to=1)]
        yield f"an outer {op}", grown(*wide, *last, n=some, column=column, row=row)
    window = {"kernel_shape": [1, 1], "pads": [0, 0, 20000, 20000]}
    kernel = np.zeros((4, 4, 1, 1), np.float32)
    yield "convolved with borders", grown(node("Conv", ["latents", "k"], ["more"], **window), k=kernel)
    strides = {"strides": [5000, 5000]}
    yield "spread", grown(node("ConvTranspose", ["latents", "k"], ["more"], **strides), k=kernel)
    yield (
        "dynamic",
        grown(
            node("Cast", ["latents"], ["i"], to=TensorProto.INT64),
            node("Reshape", ["i", "column"], ["j"]),
            node("Expand", ["x", "j"], ["more"]),
            x=np.float32(0),
            column=np.array([-1], np.int64),
        ),
    )
    square = [node("Pad", ["latents", "n"], ["m0"])]
    square += [node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(400)]
    big = np.array([0, 0, 0, 0, 0, 0, 1000, 1000], np.int64)
    yield "hours of products", grown(*square, node("Identity", ["m400"], ["more"]), n=big)

    def function(model: onnx.ModelProto) -> None:
        model.functions.add(name="f", domain="evil")

    yield "a function", remodelled(function)
    yield "training", remodelled(lambda model: model.training_info.add())
    yield "sparse", remodelled(lambda model: model.graph.sparse_initializer.add())


def quantized() -> Iterator[tuple[str, Attack]]:
    """Yield graphs whose int8 is not as export writes it: the image's latents through bytes and back."""
    step, zero = np.float32(0.1), np.int8(0)

    def through(
        first: dict[str, Any] | None = None,
        last: dict[str, Any] | None = None,
        attributes: dict[str, Any] | None = None,
        **constants: Any,
    ) -> Attack:
        given = {"inputs": ["latents", "q", "z"], "op": "QuantizeLinear"} | (first or {})
        taken = {"inputs": ["i", "q", "z"], "op": "DequantizeLinear"} | (last or {})
        nodes = [
            helper.make_node(given["op"], given["inputs"], ["i"], **(attributes or {})),
            helper.make_node(taken["op"], taken["inputs"], ["more"], **(attributes or {})),
        ]
        return grown(*nodes, **({"q": step, "z": zero} | constants))

    yield "a step of zero", through(q=np.float32(0))
    yield "a step below zero", through(q=np.float32(-0.1))
    yield "a step that is no number", through(q=np.float32(np.nan))
    yield "a step of integers", through(q=np.int32(1))
    yield "a step of another precision", through(q=np.float16(0.1))
    yield "a zero point of 32 bits", through(z=np.int32(0))
    yield "a zero point of floats", through(z=np.float32(0))
    yield "no zero point", through({"inputs": ["latents", "q"]}, {"inputs": ["i", "q"]})
    yield "another step on the way back", through(None, {"inputs": ["i", "p", "z"]}, p=np.float32(0.2))
    yield "a zero point of one sort for a step of another", through(z=np.zeros(4, np.int8))
    many = {"q": np.full(4, 0.1, np.float32), "z": np.zeros(4, np.int8)}
    yield "steps along no axis", through(attributes={"axis": 7}, **many)
    yield "steps along another axis", through(attributes={"axis": 0}, **many)
    yield "an axis for one step", through(attributes={"axis": 1})
    yield "blocks", through(attributes={"block_size": 2}, **many)
    yield "a saturation", through({"inputs": ["latents", "q", "z"]}, attributes={"saturate": 0})
    yield "dequantized floats", through({"op": "Identity", "inputs": ["latents"]})
    yield "quantized bytes", through({"inputs": ["b", "q", "z"]}, b=np.zeros((1, 4, 1, 1), np.int8))
    yield (
        "a step that is computed",
        grown(
            helper.make_node("ReduceMax", ["latents"], ["s"], keepdims=0),
            helper.make_node("QuantizeLinear", ["latents", "s", "z"], ["i"]),
            helper.make_node("DequantizeLinear", ["i", "s", "z"], ["more"]),
            z=zero,
        ),
    )
    for op in ("DynamicQuantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger"):
        yield f"operator {op} of bytes", grown(helper.make_node(op, ["latents"], ["more"]))


def special(name: str, make: Callable[[Path], None]) -> Attack:
    """Return what puts something else in a file's place, which the manifest still lists."""

    def attack(bundle: Path) -> None:
        (bundle / name).unlink()
        make(bundle / name)

    return attack


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def sparse(name: str, size: int) -> Attack:
    def attack(bundle: Path) -> None:
        os.truncate(bundle / name, size)
        values = json.loads((bundle / "manifest.json").read_text())
        values["files"][name]["size"] = size
        (bundle / "manifest.json").write_text(json.dumps(values))

    return attack


def added(*names: str, size: int = 1) -> Attack:
    """Return what adds files of the bundle's own, each of `size` bytes."""

    def attack(bundle: Path) -> None:
        for name in names:
            (bundle / name).parent.mkdir(parents=True, exist_ok=True)
            with (bundle / name).open("wb") as file:
                file.truncate(size)
        rehash(bundle)

    return attack


def shaped(table: dict[str, Any]) -> Attack:
    """Return what adds a table of placements: shapes by defect, or tensors as they are."""

    def attack(bundle: Path) -> None:
        values = json.loads((bundle / "manifest.json").read_text())
        values["tables"]["placement"] = "tables/placement.safetensors"
        (bundle / "manifest.json").write_text(json.dumps(values))
        tensors = table if any("/" in name for name in table) else pack_shapes(table)
        (bundle / "tables/placement.safetensors").write_bytes(safetensors.numpy.save(tensors))
        rehash(bundle)

    return attack


def files() -> Iterator[tuple[str, Attack]]:
    table = "tables/references.safetensors"
    for name in ("manifest.json", STEP, table, "graphs/weights.bin"):
        yield f"a pipe as {name}", special(name, os.mkfifo)
        yield f"a socket as {name}", special(name, _socket)
        yield f"a device as {name}", special(name, lambda path: path.symlink_to("/dev/zero"))
        yield f"a folder as {name}", special(name, Path.mkdir)
    yield "a sparse table of 5 GiB", sparse(table, 5 << 30)
    for name in ("backgrounds/x.png", "backgrounds/0000.png", "backgrounds/000.jpg", "backgrounds/a/000.png"):
        yield f"a background called {name}", added(name)
    yield "a sparse background of 1 GiB", added("backgrounds/000.png", size=1 << 30)
    yield "a hundred and one backgrounds", added(*(f"backgrounds/{n:03d}.png" for n in range(101)))
    yield "shapes of no defect", shaped({"other": [Shape(np.ones((2, 2), bool), (9, 9), (0.5, 0.5), 1.0)]})
    yield "shapes without their bits", shaped({"stain/sizes": np.ones((1, 2), np.int32)})
    yield "a sparse graph of 2 GiB", sparse(STEP, 2 << 30)
    header = (200 << 20).to_bytes(8, "little")
    yield "a table's description of 200 MiB", replaced(table, header + b"{" + bytes(100))
    yield "57 MiB of manifest", described(lambda values: values["provenance"].update(x=[{}] * 14_000_000))
    yield (
        "a million defects",
        described(lambda values: values.update(defects=[f"d{i}" for i in range(10**6)])),
    )
    yield (
        "two thousand defects",
        described(lambda values: values.update(defects=[f"defect_{i}" for i in range(2000)])),
    )
    yield "a picture of 16384", described(lambda values: values["image"].update(height=16384, width=16384))

    def renamed(bundle: Path, name: str, data: bytes) -> None:
        values = json.loads((bundle / "manifest.json").read_text())
        (bundle / STEP).unlink()
        (bundle / name).write_bytes(data)
        values["graphs"]["step"]["file"] = name
        (bundle / "manifest.json").write_text(json.dumps(values))
        rehash(bundle)

    xml = b'<?xml version="1.0"?><net name="x" version="11"><layers/><edges/></net>'
    yield "an XML graph", replaced(STEP, xml)
    yield "an XML graph called .xml", lambda bundle: renamed(bundle, "graphs/step.xml", xml)
    yield "a flatbuffer", replaced(STEP, b"\x1c\0\0\0ORTM" + bytes(100))
    yield (
        "a graph called .ort",
        lambda bundle: renamed(bundle, "graphs/step.ort", (bundle / STEP).read_bytes()),
    )
    yield (
        "a graph called .DS_Store",
        lambda bundle: renamed(bundle, "graphs/.DS_Store", (bundle / STEP).read_bytes()),
    )


def attacks(bundle: Path) -> dict[str, Attack]:
    """Return all attacks on copies of a bundle with a file of weights, by what they do."""
    found = [*forms(bundle), *locations(), *operators(), *quantized(), *files()]
    assert len(dict(found)) == len(found)
    return dict(found)
