"""`decode_mask`, which stops the VAE after its third up-block, against a whole VAE decode and the mask head.

    python benchmarks/decode.py sd14/bundle

The bundle's own graphs on ONNX Runtime's CPU provider, one pair at a time, turn about in one process: medians
of --rounds after a first that is not counted. The whole decode is measured in both forms: `decode_image`,
whose upsampling is that of `decode_mask`, so that what is left is the early stop's share alone; and the plain
part, as the authors' code has it, whose mask must be the same. Inputs are random: time does not depend on
them. Writes benchmarks/results/decode.json, an entry for each base.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import result_parser, write_entry
from operations import MASK_HEAD, VAE_DECODER, count_pair

from seas_runtime.bundle.reading import Bundle
from seas_runtime.manifest.types import DECODE_IMAGE, DECODE_MASK

BAR = 0.83
AGREEMENT = 1e-4
EARLY, WHOLE, PLAIN = "decode_mask", "whole_decode_and_head", "plain_decode_and_head"


def open_graph(bundle: Bundle, name: str, threads: int) -> Any:
    """Return the graph, ready to run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        str(bundle.graph_path(name)), options, providers=["CPUExecutionProvider"]
    )


def measure(bundle: Bundle, threads: int, rounds: int) -> tuple[dict[str, list[float]], float]:
    """Return the seconds of each way in each round, and the largest difference between masks."""
    names_of_graphs = (DECODE_MASK, DECODE_IMAGE, VAE_DECODER, MASK_HEAD)
    graphs = {name: open_graph(bundle, name, threads) for name in names_of_graphs}
    random = np.random.default_rng(0)
    feeds = {
        tensor.name: random.standard_normal((1, *tensor.shape[1:])).astype(tensor.dtype)
        for tensor in bundle.manifest.graphs[DECODE_MASK].inputs
    }
    names = {name: [value.name for value in graph.get_inputs()] for name, graph in graphs.items()}
    outputs = [value.name for value in graphs[VAE_DECODER].get_outputs()]
    seconds: dict[str, list[float]] = {EARLY: [], WHOLE: [], PLAIN: []}
    apart = 0.0
    for number in range(rounds + 1):
        began = time.perf_counter()
        (stopped,) = graphs[DECODE_MASK].run(["probability"], feeds)
        between = time.perf_counter()
        latents = feeds["latents"] / np.float32(bundle.manifest.latent.scaling_factor)
        decoded = graphs[VAE_DECODER].run(outputs, {"latents": latents})
        known = {**feeds, **dict(zip(outputs, decoded, strict=True))}
        headed = time.perf_counter()
        (full,) = graphs[MASK_HEAD].run(["probability"], {name: known[name] for name in names[MASK_HEAD]})
        ended = time.perf_counter()
        graphs[DECODE_IMAGE].run(["image"], {"latents": feeds["latents"]})
        imaged = time.perf_counter()
        if number:
            seconds[EARLY].append(round(between - began, 4))
            seconds[WHOLE].append(round(imaged - headed, 4))
            seconds[PLAIN].append(round(ended - between, 4))
        apart = max(apart, float(np.abs(stopped - full).max()))
    return seconds, apart


def main() -> int:
    """Measure, write, print; return the exit code."""
    parser = result_parser("decode", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    bundle = Bundle.read(options.bundle)
    manifest = bundle.manifest
    seconds, apart = measure(bundle, options.threads, options.rounds)
    medians = {way: statistics.median(taken) for way, taken in seconds.items()}
    share = medians[EARLY] / medians[WHOLE]
    operations = count_pair(options.bundle, manifest).decode_share
    entry = {
        "image": manifest.image.width,
        "threads": options.threads,
        **{f"{way}_seconds": taken for way, taken in seconds.items()},
        "share_of_time": round(share, 4),
        "share_of_the_plain_form": round(medians[EARLY] / medians[PLAIN], 4),
        "share_of_operations": round(operations, 4),
        "largest_difference": apart,
        "bar": BAR,
    }
    write_entry(options.out, str(manifest.provenance["base"]["name"]), entry)
    print(
        f"decode_mask: {share:.3f} of the time, {operations:.3f} of the operations, "
        f"{medians[EARLY] / medians[PLAIN]:.3f} of the plain form's time; masks {apart:.1e} apart"
    )
    return 0 if share <= BAR and apart <= AGREEMENT else 1


if __name__ == "__main__":
    sys.exit(main())
