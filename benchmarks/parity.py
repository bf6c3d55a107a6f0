"""How far the runtime's pairs lie from the authors' loop in PyTorch: every graph, and 24 pairs.

    python benchmarks/parity.py --checkpoint out/bottle/checkpoint --bundle out/bottle/bundle

Writes benchmarks/results/parity.json. Exits with 1 where a figure is out of its bound: fp32 graphs within
1e-4 of PyTorch relative to the tensor's range, images >= 50 dB, probability maps within 0.01, masks >= 0.99
IoU pooled. Half of the pairs are whole pictures, half are drawn into normal images of the checkpoint's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from machine import result_parser, write_result

from seas_export.export.parity import compare, expect
from seas_export.export.parity.pipeline import Request
from seas_train import load_checkpoint


def main() -> int:
    """Measure, write, print; return the exit code."""
    parser = result_parser("parity", __doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("out/bottle/checkpoint"))
    parser.add_argument("--bundle", type=Path, default=Path("out/bottle/bundle"))
    parser.add_argument("--pairs", type=int, default=8, help="of each defect")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    checkpoint = load_checkpoint(options.checkpoint)
    placed = options.pairs // 2
    requests = [
        Request(defect, options.seed, count, kind)
        for defect in checkpoint.defects
        for count, kind in ((options.pairs - placed, False), (placed, True))
        if count
    ]
    report = compare(options.bundle, expect(options.bundle, checkpoint, requests))
    write_result(
        options.out,
        {
            "benchmark": "parity",
            "product": checkpoint.product,
            "base": checkpoint.meta["base"]["name"],
            "pairs": {defect: options.pairs for defect in checkpoint.defects},
            "seed": options.seed,
            "threads": options.threads,
            **report.to_dict(),
        },
    )
    print(report.to_text())
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
