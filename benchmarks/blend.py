"""What drawing into a background costs: a step with the blend beside the same step without it.

    python benchmarks/blend.py --bundle out/bottle/bundle --name micro

What it costs is measured twice. The blend alone is a graph of its own: its fastest run over the step's, the
call included, is no less than what it takes inside, and what else the machine does falls on neither. And the
step without is the bundle's own, its blend taken out: both are run in turn, and the median of their ratios
is what is left where noise is less. `encode_image` is timed too: a placed pair runs it once. `--rounds 0`
counts operations alone.

Writes an entry of benchmarks/results/blend.json. Exits with 1 where the blend alone takes more than 3 % of a
step.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from machine import result_parser, write_entry
from onnx_ir.passes import common as passes
from operations import count_graph

from seas_export.graphs.weights import WEIGHTS_FILE
from seas_runtime.backends.contract import open_backend
from seas_runtime.bundle.content import graphs_of
from seas_runtime.bundle.reading import Bundle, check_files, file_entry
from seas_runtime.generation.resolve import resolve
from seas_runtime.manifest.types import ENCODE_IMAGE, STEP, GraphSpec, TensorSpec, known_sizes
from seas_runtime.methods.blending.inputs import BACKGROUND, BLEND_NOISE, BLENDED, MASK
from seas_runtime.methods.request import PairRequest, PlacedInputs, Request
from seas_runtime.methods.table import find_method

BAR = 0.03
_ALONE, _SD14 = "blend", "blend_sd14"
_SD14_SIDE = 64
"""Of Stable Diffusion 1.4's latents; the blend alone is measured at that size too."""
_BLEND_INPUTS = (MASK, BACKGROUND, BLEND_NOISE)
_ELEMENTWISE = frozenset({"Mul", "Add", "Sub"})


def without_blend(step: ir.Model) -> int:
    """Take the blend out of a step's graph; return how many elementwise operations of a pair it was."""
    graph = step.graph
    inputs = {str(value.name): value for value in graph.inputs}
    blended = next(value for value in graph.outputs if value.name == BLENDED)
    graph.outputs.remove(blended)
    before = sum(node.op_type in _ELEMENTWISE for node in graph)
    for use in list(blended.uses()):
        use.node.replace_input_with(use.idx, inputs["latents"])
    passes.RemoveUnusedNodesPass()(step)
    for name in _BLEND_INPUTS:
        graph.inputs.remove(inputs[name])
    shape = inputs["latents"].shape
    assert shape is not None
    sizes = [size for size in shape if isinstance(size, int)]
    return (before - sum(node.op_type in _ELEMENTWISE for node in graph)) * int(np.prod(sizes))


def blend_alone(step: ir.Model) -> None:
    """Leave of a step's graph the blend."""
    for value in [value for value in step.graph.outputs if value.name != BLENDED]:
        step.graph.outputs.remove(value)
    passes.RemoveUnusedNodesPass()(step)
    for value in [value for value in step.graph.inputs if not value.uses()]:
        step.graph.inputs.remove(value)


def enlarge(blend: ir.Model) -> None:
    """Give the blend latents of Stable Diffusion 1.4's size."""
    for value in (*blend.graph.inputs, *blend.graph.outputs):
        if value.shape is not None and len(value.shape) == 4:
            value.shape = ir.Shape([*value.shape[:2], _SD14_SIDE, _SD14_SIDE])
    for node in blend.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def stripped(bundle: Bundle, folder: Path) -> tuple[Bundle, int]:
    """Return a bundle in `folder` of the step without its blend, and of that; and its operations."""
    spec, known = bundle.manifest.graphs[STEP], bundle.manifest.files
    (folder / spec.file).parent.mkdir(parents=True)
    files = {name: entry for name, entry in known.items() if name.endswith(WEIGHTS_FILE)}
    for name in files:
        (folder / name).hardlink_to(bundle.path / name)
    plain, alone, large = (ir.load(bundle.graph_path(STEP)) for _ in range(3))
    operations = without_blend(plain)
    blend_alone(alone)
    blend_alone(large)
    enlarge(large)
    graphs: dict[str, GraphSpec] = {}
    for name, model in ((STEP, plain), (_ALONE, alone), (_SD14, large)):
        file = f"graphs/{name}.onnx"
        ir.save(model, folder / file)
        files[file] = file_entry(folder / file)
        shapes = {value.name: value.shape for value in (*model.graph.inputs, *model.graph.outputs)}
        sides = [
            tuple(_shaped(item, shapes[item.name]) for item in side if item.name in shapes)
            for side in (spec.inputs, spec.outputs)
        ]
        graphs[name] = GraphSpec(file, *sides)
    manifest = replace(bundle.manifest, graphs=graphs, tables={}, files=files)
    content = graphs_of(check_files(folder, manifest, verify=False), manifest)
    return replace(bundle, path=folder, manifest=manifest, graphs=content), operations


def _shaped(spec: TensorSpec, shape: ir.Shape | None) -> TensorSpec:
    assert shape is not None
    return replace(spec, shape=tuple(size if isinstance(size, int) else str(size) for size in shape))


def bound(bundle: Bundle, backend: Any, graph: str, feeds: Mapping[str, np.ndarray]) -> Callable[[], None]:
    """Return a run of a graph for one pair, its tensors where the backend keeps them."""
    spec, session = bundle.manifest.graphs[graph], backend.load(bundle, graph)
    places = {item.name: backend.allocate(feeds[item.name].shape, item.dtype) for item in spec.inputs}
    for name, place in places.items():
        backend.write(place, feeds[name])
    made = {
        item.name: backend.allocate(known_sizes(item.sized(batch=1)), item.dtype) for item in spec.outputs
    }
    call: Callable[[], None] = session.bind(places, made)
    return call


def pair_feeds(bundle: Bundle) -> dict[str, np.ndarray]:
    """Return inputs of a middle step of one pair, half of which is drawn, and a picture to encode."""
    image, random = bundle.manifest.image, np.random.default_rng(0)
    mask = np.zeros((image.height, image.width), np.bool_)
    mask[: image.height // 2] = True
    window = random.integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
    method = find_method(bundle.manifest.method)
    request = resolve(Request(bundle.manifest.defects[0]), bundle)
    given = method.inputs(bundle, [PairRequest(request, 0, PlacedInputs(window, mask))], 0)
    schedule, latents = bundle.schedule(), given.values["latents"]
    return {
        **given.values,
        **{name: random.standard_normal(latents.shape) for name in (*method.carries, BACKGROUND)},
        "latents": latents,
        "image": window[None],
        "schedule": schedule.table,
        "step_index": np.array([schedule.steps // 2]),
    }


def timed(calls: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Run the calls in turn, once before and then `rounds` times; return each one's seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def measure(bundle: Bundle, plain: Bundle, name: str, rounds: int, turns: bool) -> dict[str, Any]:
    """Return medians in milliseconds on one backend, and what the blend adds to a step."""
    backend, feeds = open_backend(name), pair_feeds(bundle)
    calls = {"step": bound(bundle, backend, STEP, feeds)}
    if turns:
        calls["step_without_blend"] = bound(plain, backend, STEP, feeds)
    seconds = timed(calls, rounds)
    seconds |= timed({_ALONE: bound(plain, backend, _ALONE, feeds)}, 10 * rounds)
    large = {
        name: np.resize(array, (*array.shape[:2], _SD14_SIDE, _SD14_SIDE)) if array.ndim == 4 else array
        for name, array in feeds.items()
    }
    seconds |= timed({_SD14: bound(plain, backend, _SD14, large)}, 10 * rounds)
    calls.clear()
    encoding = timed({ENCODE_IMAGE: bound(bundle, backend, ENCODE_IMAGE, feeds)}, max(3, rounds // 10))
    ratio = None
    if turns:
        ratio = round(float(np.median(np.divide(seconds["step"], seconds["step_without_blend"]))), 4)
    found = seconds | encoding
    return {
        "identity": backend.identity(bundle),
        "rounds": rounds,
        "fastest_ms": {key: round(1000 * min(values), 3) for key, values in found.items()},
        "median_ms": {key: round(1000 * float(np.median(values)), 3) for key, values in found.items()},
        "blend_share": round(min(found[_ALONE]) / min(found["step"]), 6),
        "ratio_of_steps": ratio,
    }


def main() -> int:
    """Measure, write, print; return the exit code."""
    parser = result_parser("blend", __doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--name", required=True, help="of the entry")
    parser.add_argument("--backends", nargs="+", default=["cpu", "openvino"])
    parser.add_argument("--rounds", type=int, default=100, help="0 counts operations alone")
    parser.add_argument(
        "--turns",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="hold the step without the blend beside it, too",
    )
    options = parser.parse_args()
    bundle = Bundle.read(options.bundle, verify=False)
    counted = {name: count_graph(bundle.graph_path(name)).total for name in (STEP, ENCODE_IMAGE)}
    with tempfile.TemporaryDirectory(dir=options.bundle.parent) as scratch:
        plain, blend = stripped(bundle, Path(scratch) / "bundle")
        backends = {
            name: measure(bundle, plain, name, options.rounds, options.turns)
            for name in (options.backends if options.rounds else ())
        }
    passed = all(entry["blend_share"] <= BAR for entry in backends.values())
    result = {
        "image": bundle.manifest.image.width,
        "precision": bundle.manifest.precision,
        "operations": {"blend": blend, **counted},
        "blend_operations_share": blend / counted[STEP],
        "backends": backends,
        "bar": BAR,
        "passed": passed,
    }
    write_entry(options.out, options.name, result)
    print(result)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
