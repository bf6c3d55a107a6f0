"""One weight file for all graphs of a bundle: every large tensor once, however many graphs read it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx_ir as ir

WEIGHTS_FILE = "weights.bin"
INLINE_BYTES = 1024
"""Tensors up to this size stay in the graph's own file: shapes and scales that optimisers want to see."""
_ALIGNMENT = 64  # a cache line, and the widest vector
_PAGE_ALIGNMENT = 4096  # lets a backend map a large tensor from the file
_PAGE_ALIGNED_BYTES = 1 << 20


class WeightStore:
    """Writes tensors to one file in a folder, `weights.bin` by default, each content once.

    A context manager; graphs are saved after it has closed, as their readers need the file whole. Models may
    be moved one after another, each one's weights freed before the next is made.
    """

    def __init__(self, folder: Path, name: str = WEIGHTS_FILE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = folder, name
        self._file = (folder / name).open("wb")
        self._by_content: dict[tuple[str, str, tuple[int, ...]], tuple[int, int]] = {}
        self._by_identity: dict[int, tuple[ir.TensorProtocol, ir.ExternalTensor]] = {}  # of one `move`

    def __enter__(self) -> WeightStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def move(self, models: Iterable[ir.Model]) -> None:
        """Replace the models' large initializers by references to the file."""
        for model in models:
            for value in model.graph.initializers.values():
                tensor = value.const_value
                if tensor is not None and tensor.nbytes > INLINE_BYTES:
                    value.const_value = self._stored(tensor)
        self._by_identity.clear()
        self._file.flush()  # who rewrites a graph next may read its weights

    def _stored(self, tensor: ir.TensorProtocol) -> ir.ExternalTensor:
        if isinstance(tensor, ir.ExternalTensor) and tensor.base_dir == self._folder:
            return tensor  # a composed graph's, moved with the part that it comes from
        known = self._by_identity.get(id(tensor))
        if known is not None:
            return known[1]
        data = tensor.tobytes()  # one tensor at a time: the whole model is never held twice
        shape = tuple(int(size) for size in tensor.shape)
        content = (hashlib.sha256(data).hexdigest(), tensor.dtype.name, shape)
        place = self._by_content.get(content)
        if place is None:
            alignment = _PAGE_ALIGNMENT if len(data) >= _PAGE_ALIGNED_BYTES else _ALIGNMENT
            self._file.write(b"\0" * (-self._file.tell() % alignment))
            place = self._by_content[content] = (self._file.tell(), len(data))
            self._file.write(data)
        stored = ir.ExternalTensor(
            self._name,
            place[0],
            place[1],
            tensor.dtype,
            shape=ir.Shape(shape),
            name=tensor.name or "weight",
            base_dir=self._folder,
        )
        self._by_identity[id(tensor)] = (tensor, stored)  # holding the tensor keeps its id its own
        return stored


def save_graphs(models: Mapping[str, ir.Model], folder: Path) -> None:
    """Write `<name>.onnx` into `folder` for each model whose weights a `WeightStore` has written there."""
    for name, model in models.items():
        ir.save(model, folder / f"{name}.onnx")
