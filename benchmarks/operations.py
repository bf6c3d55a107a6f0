"""Counts the floating-point operations of a bundle's graphs: what a pair costs on whatever runs them.

    python benchmarks/operations.py --bundle sd14/bundle

A multiplication and an addition are two operations. Counted are convolutions, matrix products and attention,
from the shapes in the graphs. Elementwise work, norms and resizes are left out, as is usual: they are small,
and a rate computed from these figures is never flattered. `decode.py` measures the time of a pair's decodes.

Writes benchmarks/results/operations.json. Exits with 1 where `decode_mask` takes more than 0.83 of the
operations of a whole VAE decode and the mask head.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import result_parser, write_result

from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed
from seas_runtime.manifest.types import DECODE_IMAGE, DECODE_MASK, STEP, STEP_UNGUIDED, Manifest

BAR = 0.83
UNET, VAE_DECODER, MASK_HEAD = "unet", "vae_decoder", "mask_head"
STUDENT_STEPS = 4
HALVES = 2
"""The authors run the U-Net on two items a pair: without and with the prompt."""


@dataclass(frozen=True)
class GraphOperations:
    """A graph's operations for one pair, by the kind of node."""

    by_kind: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_kind.values())


@dataclass(frozen=True)
class PairOperations:
    """The operations of a pair."""

    graphs: Mapping[str, int]
    """Of one run of each graph for one pair; `step` runs most of the U-Net twice."""
    ours: int
    """As the runtime makes a pair: N steps, the masks of the last ones, one image."""
    distilled: int
    """As a student makes one: four steps without guidance, one mask, one image; 0 where no graph does."""
    authors: int
    """As the authors' code makes it: the same, but a whole VAE decode for each mask."""
    decode_share: float
    """`decode_mask` over a whole VAE decode, in the form of `decode_image`, and the mask head."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in TFLOP."""
        return {
            "tflop": {name: _tera(count) for name, count in self.graphs.items()},
            "tflop_per_pair": _tera(self.ours),
            "tflop_per_pair_authors": _tera(self.authors),
            "tflop_per_pair_distilled": _tera(self.distilled),
            "decode_mask_share": round(self.decode_share, 4),
        }


def count_pair(bundle: Path, manifest: Manifest, steps: int | None = None) -> PairOperations:
    """Count a pair of a bundle, with its own guidance or none; `steps` by default the bundle's own.

    Raises:
        CheckFailed: a graph holds a node whose cost cannot be told.
    """
    sampler = manifest.sampler
    count = sampler.steps if steps is None else steps
    masks = manifest.generation["mask_steps"]
    graphs = {name: count_graph(bundle / spec.file).total for name, spec in manifest.graphs.items()}
    unguided = graphs.get(STEP_UNGUIDED)
    halves = HALVES if sampler.guidance != 1 else 1
    step = graphs[STEP] if halves == HALVES or unguided is None else unguided
    ours = count * step + masks * graphs[DECODE_MASK] + graphs[DECODE_IMAGE]
    distilled = 0
    if unguided is not None:
        distilled = STUDENT_STEPS * unguided + graphs[DECODE_MASK] + graphs[DECODE_IMAGE]
    masked = graphs[VAE_DECODER] + graphs[MASK_HEAD]
    authors = count * halves * graphs[UNET] + masks * masked + graphs[VAE_DECODER]
    share = graphs[DECODE_MASK] / (graphs[DECODE_IMAGE] + graphs[MASK_HEAD])
    return PairOperations(graphs, ours, distilled, authors, share)


def count_graph(file: Path) -> GraphOperations:
    """Count a graph's operations for one pair: every dynamic dimension of its inputs is taken as one.

    Raises:
        CheckFailed: a shape is missing that a node's cost depends on.
    """
    import onnx

    model = onnx.load(file, load_external_data=False)
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    batched: set[str] = set()
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(size.dim_value or 1 for size in tensor.shape.dim)
            if tensor.shape.dim and not tensor.shape.dim[0].dim_value:
                batched.add(value.name)
    items = _items(graph.node, batched)
    counted: Counter[str] = Counter()
    for node in graph.node:
        rule = _RULES.get(node.op_type)
        if rule is None:
            continue
        try:
            made = node.output[0]
            counted[node.op_type] += items[made] * rule(
                [shapes.get(name, ()) for name in node.input], shapes[made], node
            )
        except (KeyError, IndexError) as error:
            raise CheckFailed(
                f"{file}: {node.op_type} {node.name!r}: its operations cannot be counted: a shape is missing "
                f"({error}); export the bundle again"
            ) from error
    return GraphOperations(dict(counted))


def _items(nodes: Iterable[Any], batched: set[str]) -> dict[str, int]:
    """Return how many items each value holds for one pair: guidance joins two halves and parts them again."""
    items: dict[str, int] = {}
    for node in nodes:
        given = [items.get(name, 1) for name in node.input]
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None)
        count = max(given, default=1)
        if node.op_type == "Concat" and axis == 0 and batched.issuperset(node.input):
            count = sum(given)
        elif node.op_type == "Split" and axis == 0:
            count //= len(node.output)
        items.update(dict.fromkeys(node.output, max(count, 1)))
    return items


Shape = tuple[int, ...]
_Rule = Callable[[Sequence[Shape], Shape, Any], int]


def _convolution(inputs: Sequence[Shape], output: Shape, node: Any) -> int:
    """Each output value is a dot product over the kernel and its group's input channels."""
    return 2 * math.prod(output) * math.prod(inputs[1][1:])


def _transposed_convolution(inputs: Sequence[Shape], output: Shape, node: Any) -> int:
    """Each input value is spread over the kernel and its group's output channels."""
    return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _product(inputs: Sequence[Shape], output: Shape, node: Any) -> int:
    return 2 * math.prod(output) * inputs[0][-1]


def _gemm(inputs: Sequence[Shape], output: Shape, node: Any) -> int:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2 * math.prod(output) * inputs[0][0 if transposed else 1]


def _attention(inputs: Sequence[Shape], output: Shape, node: Any) -> int:
    """Scores [N,M] and their product with the values, over the width of all heads together."""
    query, key, value = inputs[:3]
    pixels, words = query[-2], key[-2]
    return 2 * pixels * words * (query[-1] + value[-1])


_RULES: Mapping[str, _Rule] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "MatMul": _product,
    "Gemm": _gemm,
    "MultiHeadAttention": _attention,
}


def _tera(count: int) -> float:
    return round(count / 1e12, 6)


def main() -> int:
    """Count, write, print; return the exit code."""
    parser = result_parser("operations", __doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    options = parser.parse_args()
    manifest = Bundle.read(options.bundle, verify=False).manifest
    counted = count_pair(options.bundle, manifest)
    kinds = {
        name: {
            kind: round(count / 1e12, 6)
            for kind, count in count_graph(options.bundle / spec.file).by_kind.items()
        }
        for name, spec in manifest.graphs.items()
    }
    result = {
        "benchmark": "operations",
        "base": manifest.provenance["base"]["name"],
        "image": manifest.image.width,
        "steps": manifest.sampler.steps,
        "precision": manifest.precision,
        **counted.to_dict(),
        "tflop_by_kind_per_item": kinds,
        "bar": BAR,
    }
    passed = counted.decode_share <= BAR
    write_result(options.out, {**result, "passed": passed})
    print({key: result[key] for key in result if key.startswith("tflop") and key != "tflop_by_kind_per_item"})
    print(f"decode_mask: {counted.decode_share:.3f} of the operations of a whole decode and the mask head")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
