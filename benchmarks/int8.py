"""An int8 bundle against its float32 one: pictures, masks, time of each graph, and size.

    python benchmarks/int8.py --bundle out/bottle/bundle --int8 out/bottle-int8/bundle
    python benchmarks/int8.py --sd14 WORK

The first makes the same pairs with both on each backend, whole and drawn into a background, and runs each
graph of both turn about in one process. The second makes a base of Stable Diffusion 1.4's size with random
weights, a checkpoint and both bundles in WORK (10 GiB; what is there is kept), and times the graphs alone:
its pictures say nothing. With `--nncf` NNCF quantizes the float32 bundle's step as well, on inputs of a few
steps: how long that takes, and how far its outputs lie from float32 beside ours, on the same inputs.

Writes an entry of benchmarks/results/int8.json. Exits with 1 where pairs lie further from float32 than
export allows, where weights are more than 30 % of float32's, or, on a processor with products of bytes
(VNNI), where a step at Stable Diffusion's size is not 1.25 times as fast on OpenVINO. Without VNNI that bar
cannot be judged, and it is said that it was not.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from feeds import graph_feeds, sized
from full_size import commands
from machine import result_parser, write_entry

from seas_engines.precision.cases import step_cases
from seas_engines.precision.evaluator import distance
from seas_engines.precision.int8.sample import Sample
from seas_engines.precision.loop_check import Pairs
from seas_export.export.parity.report import BOUNDS
from seas_runtime.backends.contract import open_backend
from seas_runtime.backends.cores import CPUINFO, processor_flags
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.figures import iou, overlap, psnr, squared_error
from seas_runtime.generation.loop import Loop
from seas_runtime.generation.sessions import Sessions
from seas_runtime.methods.table import find_method

SPEED, WEIGHTS = 1.25, 0.30
PRODUCTS_OF_BYTES = {"avx512_vnni", "avx_vnni", "amx_int8"}


def opened(bundle: Bundle, graph: str, backend_name: str, threads: int) -> Any:
    """Return what runs a graph once on a backend."""
    backend = open_backend(backend_name, threads)
    session, spec = backend.load(bundle, graph), bundle.manifest.graphs[graph]
    steps = bundle.schedule().steps
    feeds, outputs = {}, {}
    for name, array in graph_feeds(bundle, graph).items():
        feeds[name] = backend.allocate(array.shape, str(array.dtype))
        backend.write(feeds[name], array)
    for tensor in spec.outputs:
        outputs[tensor.name] = backend.allocate(tuple(sized(tensor.shape, steps)), tensor.dtype)
    return session.bind(feeds, outputs)


def time_graphs(
    bundles: Mapping[str, Bundle], graphs: Sequence[str], backend: str, threads: int, rounds: int
) -> dict[str, Any]:
    """Return the seconds of each graph of both bundles, turn about, and how many times as fast int8 is."""
    found = {}
    for graph in graphs:
        calls = {name: opened(bundle, graph, backend, threads) for name, bundle in bundles.items()}
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for count in range(rounds + 1):  # the first is not counted
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                if count:
                    seconds[name].append(round(time.perf_counter() - began, 5))
        medians = {name: statistics.median(taken) for name, taken in seconds.items()}
        found[graph] = {**seconds, "times_faster": round(medians["fp32"] / medians["int8"], 3)}
        print(f"{backend} {graph}: int8 {found[graph]['times_faster']} times as fast", flush=True)
    return found


def pairs_on(bundle: Bundle, backend_name: str, threads: int, sample: Sample) -> Pairs:
    """Return the sample's pairs, made on a backend."""
    backend = open_backend(backend_name, threads)
    loop = Loop(bundle, backend, Sessions(bundle, backend))
    cpu = open_backend("cpu", threads)
    session = cpu.load(bundle, "decode_image")

    def decode(feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Decode a normal image, which placed pairs are drawn into; on ONNX Runtime, of either bundle."""
        place, out = cpu.allocate((), "float32"), cpu.allocate((), "uint8")
        cpu.write(place, feeds["latents"])
        session.bind({"latents": place}, {"image": out})()
        return {"image": out.get()}

    made = [loop.run(pairs, 0) for pairs in sample.batches(bundle, decode) if pairs]
    return Pairs(
        np.concatenate([part.images for part in made]),
        np.concatenate([part.masks.masks for part in made]),
        None,
    )


def compare_pairs(bundles: Mapping[str, Bundle], backend: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return how far int8's pairs on a backend lie from float32's on ONNX Runtime."""
    sample = Sample(options.seed, each=options.pairs)
    exact = pairs_on(bundles["fp32"], "cpu", options.threads, sample)
    made = pairs_on(bundles["int8"], backend, options.threads, sample)
    bound = BOUNDS["int8"].pipeline
    figures = {
        "pairs": len(made.images),
        "psnr_db": round(psnr(squared_error(made.images, exact.images), made.images.size), 2),
        "mask_iou": round(iou(*overlap(made.masks, exact.masks)), 4),
    }
    passed = figures["psnr_db"] >= bound.psnr and figures["mask_iou"] >= bound.iou
    print(f"{backend}: {figures}", flush=True)
    return {**figures, "bound": {"psnr_db": bound.psnr, "mask_iou": bound.iou}, "passed": passed}


def weights(bundle: Bundle, graphs: Sequence[str]) -> int:
    """Return the bytes of the weights of graphs, each once."""
    found: dict[Any, int] = {}
    for graph in graphs:
        for value in ir.load(bundle.graph_path(graph)).graph.initializers.values():
            tensor = value.const_value
            assert tensor is not None
            external = isinstance(tensor, ir.ExternalTensor)
            found[(tensor.offset, tensor.length) if external else (graph, value.name)] = tensor.nbytes
    return sum(found.values())


def sizes(bundles: Mapping[str, Bundle], graphs: Sequence[str]) -> dict[str, Any]:
    """Return the bytes of the composed graphs' weights, and of all files."""
    composed = {name: weights(bundle, graphs) for name, bundle in bundles.items()}
    whole = {
        name: sum(entry.size for entry in bundle.manifest.files.values()) for name, bundle in bundles.items()
    }
    return {
        "composed_weights": {**composed, "share": round(composed["int8"] / composed["fp32"], 4)},
        "bundle": {**whole, "share": round(whole["int8"] / whole["fp32"], 4)},
        "plain_parts": "left out of the int8 bundle",
    }


def against_nncf(bundles: Mapping[str, Bundle]) -> dict[str, Any]:
    """Return NNCF's time for the step, and the largest distances of its outputs and of ours from float32."""
    try:
        import nncf
        import onnx
    except ImportError as error:
        raise UserError(f"--nncf: {error}; install it beside this: pip install nncf") from error
    import onnxruntime

    full = bundles["fp32"]
    cases = [case.feeds for case in step_cases(full, full.manifest.graphs["step"]) if not case.extreme]
    model = onnx.load(full.graph_path("step"))
    began = time.perf_counter()
    quantized = nncf.quantize(
        model,
        nncf.Dataset(cases),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(cases),
    )
    seconds = round(time.perf_counter() - began, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "step.onnx"
        onnx.save(quantized, file, save_as_external_data=True, location="weights.bin")
        runs = {
            name: onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            for name, path in (
                ("fp32", full.graph_path("step")),
                ("nncf", file),
                ("ours", bundles["int8"].graph_path("step")),
            )
        }
        outputs = {name: [run.run(None, dict(case)) for case in cases] for name, run in runs.items()}
    names = [value.name for value in runs["fp32"].get_outputs()]
    exact = list(zip(*outputs.pop("fp32"), strict=True))
    apart = {
        name: dict(zip(names, map(_worst, zip(*made, strict=True), exact), strict=True))
        for name, made in outputs.items()
    }
    return {"version": nncf.__version__, "step_seconds": seconds, "inputs": len(cases), "apart": apart}


def _worst(made: Sequence[Any], expected: Sequence[Any]) -> float:
    """Return the largest distance of one output over all inputs."""
    return float(f"{max(map(distance, made, expected)):.3g}")


def make_sd14(work: Path) -> dict[str, Path]:
    """Make what is not there of a base, a checkpoint and both bundles of Stable Diffusion 1.4's size."""
    words = commands(work, "sd14")
    words["bundle"] += ["--no-parity"]
    words["bundle-int8"] = [*words["bundle"][:-2], str(work / "bundle-int8"), "--no-parity"]
    words["bundle-int8"] += ["--precision", "int8"]
    for name in ("base", "checkpoint", "bundle", "bundle-int8"):
        if not (work / name).exists():
            print(f"{name} ...", flush=True)
            subprocess.run([sys.executable, "-m", "seas_export", *words[name]], check=True)
    return {"fp32": work / "bundle", "int8": work / "bundle-int8"}


def main() -> int:
    """Measure, write, print; return the exit code."""
    parser = result_parser("int8", __doc__)
    parser.add_argument("--bundle", type=Path, help="the float32 one")
    parser.add_argument("--int8", type=Path, help="the int8 one of the same checkpoint")
    parser.add_argument("--sd14", type=Path, metavar="WORK", help="a folder for Stable Diffusion's size")
    parser.add_argument("--backends", nargs="+", default=["cpu", "openvino"])
    parser.add_argument("--pairs", type=int, default=2, help="whole ones of each defect, and as many placed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nncf", action="store_true")
    options = parser.parse_args()
    given = options.bundle, options.int8
    if None in given if options.sd14 is None else given != (None, None):
        parser.error("expected --bundle and --int8, or --sd14")
    paths = make_sd14(options.sd14) if options.sd14 else {"fp32": options.bundle, "int8": options.int8}
    bundles = {name: Bundle.read(path) for name, path in paths.items()}
    method, manifest = find_method(bundles["fp32"].manifest.method), bundles["fp32"].manifest
    graphs = list(method.graphs)
    vnni = bool(processor_flags(CPUINFO) & PRODUCTS_OF_BYTES)
    result: dict[str, Any] = {
        "base": manifest.provenance["base"]["name"],
        "threads": options.threads,
        "products_of_bytes": vnni,
        "choice": {key: bundles["int8"].manifest.int8[key] for key in ("layers", "ratio", "pairs")},
        "inputs_in_float": {
            graph: len(names) for graph, names in bundles["int8"].manifest.int8["float32"].items()
        },
        "sizes": sizes(bundles, graphs),
        "pairs": {},
        "seconds": {},
    }
    for backend in options.backends:
        if not options.sd14:
            result["pairs"][backend] = compare_pairs(bundles, backend, options)
        result["seconds"][backend] = time_graphs(bundles, graphs, backend, options.threads, options.rounds)
    if options.nncf:
        result["nncf"] = against_nncf(bundles)
    fast = result["seconds"].get("openvino", {}).get("step", {}).get("times_faster", 0.0)
    judged = bool(options.sd14) and vnni
    result["speed_bar"] = {"times_faster": SPEED, "met": fast >= SPEED if judged else None}
    if not judged:
        result["speed_bar"]["why"] = (
            "not judged: no products of bytes (VNNI) on this processor" if not vnni else "not of this size"
        )
    passed = (
        result["sizes"]["composed_weights"]["share"] <= WEIGHTS
        and all(row["passed"] for row in result["pairs"].values())
        and (not judged or fast >= SPEED)
    )
    write_entry(options.out, "sd14" if options.sd14 else str(result["base"]), {**result, "passed": passed})
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
