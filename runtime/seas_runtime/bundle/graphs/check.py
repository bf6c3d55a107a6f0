"""Whether a graph may be given to a library: its operators, sizes, and the files that hold its weights."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from seas_runtime.bundle.graphs.model import Model, Node, Tensor, read_model
from seas_runtime.bundle.graphs.operators import MICROSOFT, ONNX, OPERATORS
from seas_runtime.bundle.graphs.quantized import check_quantized
from seas_runtime.bundle.graphs.rules import Made, Sized
from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import describe, is_portable_path
from seas_runtime.manifest.fields import listed as listing
from seas_runtime.manifest.types import BATCH, STEPS, FileEntry, GraphSpec
from seas_runtime.units import gib

PAIRS = 2
"""Pairs that a graph is sized for: one that grows faster than its batch is seen."""
MEMORY_FLOOR, MEMORY_PER_BYTE = 192 << 20, 4
"""Bytes for tensors that live together, a pair: this much, and more by the bundle's bytes. Exported bundles
need at most a quarter of it, Stable Diffusion 1.x at 512x512 unfused included."""
WORK_FLOOR, WORK_PER_BYTE = 10**10, 20_000
"""Multiplications of one run, a pair, likewise."""
NODE_LIMIT = 50_000


@dataclass(frozen=True)
class Limits:
    """What one run of a graph may need for a pair: bytes, and multiplications."""

    memory: int
    work: int

    @classmethod
    def of(cls, size: int) -> Limits:
        """Return those of a bundle of `size` bytes."""
        return cls(MEMORY_FLOOR + MEMORY_PER_BYTE * size, WORK_FLOOR + WORK_PER_BYTE * size)


@dataclass(frozen=True)
class Graph:
    """A graph that was read and may be loaded."""

    tensors: tuple[Tensor, ...]
    """Those whose bytes lie in other files; a location is a file's name in the graph's folder."""
    files: tuple[str, ...]
    """Those files, by the names that the listing has."""


def check_graph(
    data: bytes,
    where: str,
    spec: GraphSpec,
    name: str,
    files: Mapping[str, FileEntry],
    limits: Limits,
    steps: int,
) -> Graph:
    """Read a graph whose file is called `name`, and check it as `spec` describes it.

    Its weights must lie in `files`, beside it. Raises UserError that starts with `where`.
    """
    try:
        model = read_model(data)
        _check_operators(model)
        check_quantized(model.nodes, model.tensors)
        found = _weights(model, where, name, files)
        _check_inputs(model, where, spec)
        _check_sizes(model, limits, {BATCH: PAIRS, STEPS: steps}, spec)
    except (ValueError, ArithmeticError, IndexError, TypeError, MemoryError) as error:
        raise UserError(f"{where}: expected an ONNX graph, found {error}; export the bundle again") from None
    return found


def _check_operators(model: Model) -> None:
    if ONNX not in model.domains or not model.domains.keys() <= {ONNX, MICROSOFT}:
        raise ValueError(f"operators of {', '.join(map(describe, sorted(model.domains)))}")
    if len(model.nodes) > NODE_LIMIT:
        raise ValueError(f"{len(model.nodes)} nodes")
    for node in model.nodes:
        operator = OPERATORS.get((node.domain, node.op))
        if operator is None:
            at = f" of {describe(node.domain)}" if node.domain else ""
            raise ValueError(f"the operator {describe(node.op)}{at}, which no graph of ours has")
        unknown = sorted(node.attributes.keys() - operator.attributes)
        if unknown:
            raise ValueError(f"the attribute {describe(unknown[0])} of {node.op}, which no graph of ours has")


def _weights(model: Model, where: str, name: str, files: Mapping[str, FileEntry]) -> Graph:
    """Return which tensors lie in which files: plain names of listed ones, each as often as it is large."""
    tensors = tuple(tensor for tensor in model.tensors.values() if tensor.external)
    total: dict[str, int] = {}
    for tensor in tensors:
        external = tensor.external
        assert external is not None
        file = posixpath.join(posixpath.dirname(name), external.location)
        plain = "/" not in external.location and is_portable_path(external.location)
        if not plain or file not in files or file == name:
            raise UserError(
                f"{where}: the path {describe(external.location)} of its weights is refused: expected the "
                "name of a file beside it that is listed; export the bundle again"
            )
        if external.offset + external.length > files[file].size:
            raise ValueError(
                f"weights up to byte {external.offset + external.length} of {file}, which has fewer"
            )
        total[file] = total.get(file, 0) + external.length
        if total[file] > files[file].size:
            raise ValueError(f"more weights than {file} has bytes")
    return Graph(tensors, tuple(sorted(total)))


def _check_inputs(model: Model, where: str, spec: GraphSpec) -> None:
    for kind, listed, real in (("input", spec.inputs, model.inputs), ("output", spec.outputs, model.outputs)):
        names = [value.name for value in real]
        if sorted(names) != sorted(tensor.name for tensor in listed):
            raise UserError(
                f"{where}: expected the {kind}s {listing(sorted(item.name for item in listed))} as in the "
                f"manifest, found {listing(sorted(names))}; export the bundle again"
            )


def _check_sizes(model: Model, limits: Limits, sizes: Mapping[str, int], spec: GraphSpec) -> None:
    """Walk the nodes in their order with the sizes of what they make; refuse what needs too much.

    A tensor lives from the node that makes it to the last that reads it.
    """
    live: dict[str, Sized] = {
        tensor.name: Sized(tensor.shape, tensor.dtype, tensor.values) for tensor in model.tensors.values()
    }
    given = {tensor.name: tensor for tensor in spec.inputs}
    for value in model.inputs:
        if value.name in live:
            raise ValueError(f"the input {describe(value.name)} that is a constant")
        live[value.name] = Sized(_numbers(given[value.name].shape, sizes), given[value.name].dtype)
    last = {name: place for place, node in enumerate(model.nodes) for name in node.inputs}
    last.update(dict.fromkeys((value.name for value in model.outputs), len(model.nodes)))
    constants = live.keys() - {value.name for value in model.inputs}
    seen = set(live)
    held = sum(live[value.name].size for value in model.inputs)
    work = 0
    for place, node in enumerate(model.nodes):
        result = _made(node, live)
        for name, output in zip(node.outputs, result.outputs, strict=False):
            if name in seen:
                raise ValueError(f"{describe(name)} made twice")
            if name:
                seen.add(name)
                live[name] = output
                held += output.size
        work += result.work
        if held + result.scratch > PAIRS * limits.memory:
            raise ValueError(f"{describe(node.op)} that needs {gib(held + result.scratch)} for {PAIRS} pairs")
        if work > PAIRS * limits.work:
            raise ValueError(f"{work / PAIRS:.0e} multiplications a pair, more than such a bundle takes")
        for name in {*node.inputs, *node.outputs}:
            if name and name not in constants and last.get(name, place) <= place and name in live:
                held -= live.pop(name).size
    missing = [value.name for value in model.outputs if value.name not in live]
    if missing:
        raise ValueError(f"no output {describe(missing[0])}")


def _made(node: Node, live: Mapping[str, Sized]) -> Made:
    for name in node.inputs:
        if name and name not in live:
            raise ValueError(f"{describe(name)} read before it is made")
    result = OPERATORS[node.domain, node.op].rule(node, [live.get(name) for name in node.inputs])
    if len(result.outputs) < sum(1 for name in node.outputs if name):
        raise ValueError(f"{len(node.outputs)} outputs of {node.op}")
    if any(size > 1 << 40 for output in result.outputs for size in output.shape):
        raise ValueError(f"{describe(node.op)} to {math.prod(result.outputs[0].shape):.0e} elements")
    return result


def _numbers(shape: tuple[int | str, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    unknown = [size for size in shape if isinstance(size, str) and size not in sizes]
    if unknown:
        raise ValueError(f"the dynamic size {describe(unknown[0])}, expected {' or '.join(map(repr, sizes))}")
    return tuple(size if isinstance(size, int) else sizes[size] for size in shape)
