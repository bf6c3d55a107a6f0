"""What a pair costs, counted from a bundle's graphs; with --time, the mask's decode against a whole one.

    python benchmarks/operations.py --bundle sd14/bundle --time

Writes benchmarks/results/operations.json. Exits with 1 where `decode_mask` takes more than 0.83 of the
operations of a whole VAE decode and the mask head, or, with --time, of their time: `decode_image` and
`mask_head`, both by ONNX Runtime on the CPU, in turn, medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from seas_export.machine import peak_memory
from seas_export.operations import count_graph, count_pair
from seas_runtime.bundle import Bundle
from seas_runtime.files import write_json
from seas_runtime.manifest import DECODE_IMAGE, DECODE_MASK, GraphSpec

RESULTS = Path(__file__).parent / "results" / "operations.json"
BAR = 0.83
MASK_HEAD = "mask_head"


def time_decodes(bundle: Bundle, rounds: int, threads: int) -> dict[str, Any]:
    """Return seconds of every round for the two decoders and the mask head, in turn, at one item."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    runs = {}
    for name in (DECODE_MASK, DECODE_IMAGE, MASK_HEAD):
        session = onnxruntime.InferenceSession(
            str(bundle.graph_path(name)), options, providers=["CPUExecutionProvider"]
        )
        runs[name] = (session, _feeds(bundle.manifest.graphs[name]))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, (session, feeds) in runs.items():
            began = time.perf_counter()
            session.run(None, feeds)
            if number:  # the first round allocates
                seconds[name].append(round(time.perf_counter() - began, 4))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    whole = medians[DECODE_IMAGE] + medians[MASK_HEAD]
    return {"seconds": seconds, "share": round(medians[DECODE_MASK] / whole, 4), "threads": threads}


def _feeds(spec: GraphSpec) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    return {
        tensor.name: random.standard_normal(
            [size if isinstance(size, int) else 1 for size in tensor.shape]
        ).astype(tensor.dtype)
        for tensor in spec.inputs
    }


def main() -> int:
    """Count, time, write, print; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    bundle = Bundle.read(options.bundle, verify=False)
    manifest = bundle.manifest
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
    if options.time:
        result["decode_time"] = time_decodes(bundle, options.rounds, options.threads)
        result["peak_memory"] = peak_memory()
        passed = passed and result["decode_time"]["share"] <= BAR
    write_json(options.out, {**result, "passed": passed, "machine": describe_machine()})
    print({key: result[key] for key in ("tflop", "tflop_per_pair", "tflop_per_pair_authors")})
    print(f"decode_mask: {counted.decode_share:.3f} of the operations of a whole decode and the mask head")
    if options.time:
        print(f"             {result['decode_time']['share']:.3f} of their time")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
