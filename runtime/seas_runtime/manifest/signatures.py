"""Whether graphs have the inputs and outputs that a method feeds and reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GraphSpec, TensorSpec

FLOAT = ("float32",)
FLOATS = ("float32", "float16")


@dataclass(frozen=True)
class Expected:
    """What a tensor must be: one of `dtypes`, and a shape whose None may be any size or dynamic."""

    dtypes: tuple[str, ...]
    shape: tuple[int | None, ...]
    optional: bool = False

    def fits(self, spec: TensorSpec) -> bool:
        """Whether a tensor of the manifest is as expected; a dynamic size fits any."""
        return (
            spec.dtype in self.dtypes
            and len(spec.shape) == len(self.shape)
            and all(
                want is None or isinstance(size, str) or size == want
                for want, size in zip(self.shape, spec.shape, strict=True)
            )
        )

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{' or '.join(self.dtypes)} [{sizes}]"


Signature = Mapping[str, Expected]
"""Tensors of one side of a graph, by name."""


def check_signatures(
    graphs: Mapping[str, GraphSpec],
    expected: Mapping[str, tuple[Signature, Signature]],
    needed: Sequence[str],
    where: str,
) -> None:
    """Refuse graphs that lack or add to what the runtime feeds and reads, or miss one that is `needed`."""
    for name, (inputs, outputs) in expected.items():
        if name not in graphs:
            if name not in needed:
                continue
            raise UserError(f"{where}.graphs: the graph {name!r} is missing; export the bundle again")
        graph = graphs[name]
        _check(f"{where}.graphs.{name}.inputs", inputs, graph.inputs)
        unknown = [spec.name for spec in graph.inputs if spec.name not in inputs]
        if unknown:
            raise UserError(f"{where}.graphs.{name}.inputs: the runtime has no {unknown[0]!r} to feed")
        _check(f"{where}.graphs.{name}.outputs", outputs, graph.outputs)


def _check(where: str, signature: Signature, specs: Sequence[TensorSpec]) -> None:
    found = {spec.name: spec for spec in specs}
    for name, expected in signature.items():
        if name not in found:
            if expected.optional:
                continue
            raise UserError(f"{where}: expected {name!r}, found {', '.join(found) or 'nothing'}")
        spec = found[name]
        if not expected.fits(spec):
            raise UserError(f"{where}: {name!r}: expected {expected}, found {spec.dtype} {list(spec.shape)}")
