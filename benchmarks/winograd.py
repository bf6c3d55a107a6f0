"""Convolutions in Winograd's form against OpenVINO's direct ones: layer by layer, and in a bundle's graphs.

    python benchmarks/winograd.py sd14/bundle

Layers: three 3x3 convolutions one behind the other, each with a bias and SiLU, whatever the runtime would
choose; `--layers` are written BATCHxCHANNELSxSIZE. Graphs: those of the bundle with a batch of one, as the
runtime compiles them. Both forms take turns in one process; medians of --rounds after a first that is not
counted. Weights of layers and all inputs are random: time does not depend on them. Writes
benchmarks/results/winograd.json, where a precision that is not measured keeps its older figures.
"""

from __future__ import annotations

import gc
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from feeds import graph_feeds
from machine import result_parser, write_result

from seas_runtime.backends.openvino import convolutions as openvino_convolutions
from seas_runtime.backends.openvino.importing import import_openvino
from seas_runtime.bundle.reading import Bundle
from seas_runtime.methods.seas import GRAPHS

LAYERS = (
    *("2x128x32", "2x192x32", "2x256x32", "2x320x64", "2x640x32", "2x1280x16", "2x1280x8"),
    *("1x512x64", "1x512x128", "1x192x256", "1x256x256", "1x128x512", "1x192x512"),
)
DEPTH = 3
DIRECT, WINOGRAD = "direct", "winograd"
HINTS = {"bf16": "bf16", "fp32": "f32"}


def layer_model(batch: int, channels: int, size: int) -> Any:
    """Return convolutions [B,C,S,S] -> [B,C,S,S], the same every time."""
    import openvino.opset13 as operators

    random = np.random.default_rng(0)
    given = operators.parameter([batch, channels, size, size], np.float32)
    value = given
    for _ in range(DEPTH):
        kernel = random.standard_normal((channels, channels, 3, 3)) / np.sqrt(9 * channels)
        bias = random.standard_normal((1, channels, 1, 1)).astype(np.float32)
        value = operators.convolution(
            value, operators.constant(kernel.astype(np.float32)), *([1, 1], [1, 1], [1, 1], [1, 1])
        )
        value = operators.swish(operators.add(value, operators.constant(bias)))
    return import_openvino().Model([operators.result(value)], [given])


def convolution_gflop(model: Any) -> float:
    """Return the operations of a model's convolutions for one image, a product and an addition being two."""
    total = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() in {"Convolution", "GroupConvolution"}:
            pixels = [size.get_length() for size in list(node.output(0).get_partial_shape())[2:]]
            total += 2 * math.prod(node.input_value(1).get_shape()) * math.prod(pixels)
    return round(total / 1e9, 2)


def compare(
    read: Callable[[], Any], feeds: Mapping[Any, Any], precision: str, threads: int, rounds: int
) -> dict[str, Any]:
    """Return seconds of both forms in each round, and how far their results are apart, as JSON values."""
    core = import_openvino().Core()
    options = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
    }
    requests, made, written, gflop = {}, {}, 0, {}
    for form in (DIRECT, WINOGRAD):
        model = read()
        if form == WINOGRAD:
            written = openvino_convolutions.use_winograd(model, half=precision == "bf16")
        gflop[form] = convolution_gflop(model)
        requests[form] = core.compile_model(model, "CPU", options).create_infer_request()
        del model
        made[form] = [np.array(value, np.float32) for value in requests[form].infer(dict(feeds)).values()]
    seconds: dict[str, list[float]] = {DIRECT: [], WINOGRAD: []}
    for _ in range(rounds):
        for form, request in requests.items():
            began = time.perf_counter()
            request.infer(dict(feeds))
            seconds[form].append(round(time.perf_counter() - began, 5))
    apart = [
        float(np.sqrt(np.mean((one - other) ** 2)) / (other.std() + 1e-9))
        for one, other in zip(made[WINOGRAD], made[DIRECT], strict=True)
    ]
    medians = {form: statistics.median(taken) for form, taken in seconds.items()}
    return {
        "written": written,
        **{f"{form}_convolution_gflop": count for form, count in gflop.items()},
        **{f"{form}_seconds": taken for form, taken in seconds.items()},
        "times_faster": round(medians[DIRECT] / medians[WINOGRAD], 3),
        "rms_apart": [float(f"{value:.3g}") for value in apart],
    }


def measure_layers(names: Sequence[str], precision: str, threads: int, rounds: int) -> dict[str, Any]:
    """Return what `compare` finds for each layer, however few its channels or many its factors."""
    limits = openvino_convolutions.MIN_CHANNELS, openvino_convolutions.MOST_FACTORS_IN_FULL
    openvino_convolutions.MIN_CHANNELS, openvino_convolutions.MOST_FACTORS_IN_FULL = 1, sys.maxsize
    found = {}
    for name in names:
        batch, channels, size = map(int, name.split("x"))
        given = np.random.default_rng(1).standard_normal((batch, channels, size, size), np.float32)
        read = partial(layer_model, batch, channels, size)
        found[name] = compare(read, {0: given}, precision, threads, rounds)
        print(f"{precision} {name}: {found[name]['times_faster']} times", flush=True)
    openvino_convolutions.MIN_CHANNELS, openvino_convolutions.MOST_FACTORS_IN_FULL = limits
    return found


def measure_graphs(bundle: Bundle, precision: str, threads: int, rounds: int) -> dict[str, Any]:
    """Return what `compare` finds for each graph of a bundle."""
    core = import_openvino().Core()
    found = {}
    for graph in GRAPHS:
        read = partial(core.read_model, str(bundle.graph_path(graph)))
        found[graph] = compare(read, graph_feeds(bundle, graph), precision, threads, rounds)
        print(f"{precision} {graph}: {found[graph]['times_faster']} times", flush=True)
        gc.collect()
    return found


def main() -> int:
    """Measure, write, print; return the exit code."""
    parser = result_parser("winograd", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--layers", nargs="*", default=LAYERS)
    parser.add_argument("--precisions", nargs="+", choices=sorted(HINTS), default=["bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    bundle = Bundle.read(options.bundle)
    found = {
        precision: {
            "layers": measure_layers(options.layers, precision, options.threads, options.rounds),
            "graphs": measure_graphs(bundle, precision, options.threads, options.rounds),
        }
        for precision in options.precisions
    }
    base = bundle.manifest.provenance["base"]["name"]
    older = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    write_result(options.out, {**older, "base": base, "threads": options.threads, **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
