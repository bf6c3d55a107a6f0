"""How far the pairs of every backend lie from those of the default one, over the whole loop.

    python benchmarks/backend_parity.py --bundle out/bottle/bundle [--also out/bottle-fp16/bundle ...]

Every backend that is usable here makes the same 24 pairs, 8 of each of the sample product's defects, without
gates, and makes them once more. The reference is ONNX Runtime on the CPU with the float32 bundle; `--also`
adds other bundles of the same checkpoint: one of fp16, or one with engines. Writes
benchmarks/results/backend_parity.json. Exits with 1 where a figure is out of its bound: float32 backends
>= 50 dB PSNR, half precision >= 30 dB and mask IoU >= 0.97, all pooled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import result_parser, write_result

from seas_export.export.parity.pipeline import PipelineFigures
from seas_runtime.backends.auto import candidates
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.records import GeneratedPair

FLOAT_PSNR, HALF_PSNR, HALF_IOU = 50.0, 30.0, 0.97
ALL = ("cpu", "openvino:fp32", "openvino:bf16", "cuda", "tensorrt", "rtx")


def usable(bundle: Path) -> list[str]:
    """Return the backends, each with its precisions, that this machine can run the bundle on."""
    there = {item.backend for item in candidates(bundle) if item.usable}
    try:
        import openvino  # noqa: F401
    except ImportError:
        pass
    else:
        there |= {"openvino:fp32"} | ({"openvino:bf16"} if "openvino" in there else set())
    return [name for name in ALL if name in there]


def make(bundle: Path, backend: str, options: argparse.Namespace) -> tuple[Generator, list[GeneratedPair]]:
    """Return a generator and its pairs of every defect."""
    generator = Generator.open(bundle, backend, options.threads or None)
    pairs = [
        pair
        for defect in generator.manifest.defects
        for pair in generator.generate(defect, options.pairs, options.seed, batch=options.batch, gate=False)
    ]
    return generator, pairs


def distance(pairs: Sequence[GeneratedPair], reference: Sequence[GeneratedPair]) -> PipelineFigures:
    """Return how far pairs lie from others of the same request."""
    figures = PipelineFigures()
    for pair, expected in zip(pairs, reference, strict=True):
        figures.add(pair, expected)
    return figures


def compare(
    made: tuple[Generator, list[GeneratedPair]],
    again: tuple[Generator, list[GeneratedPair]],
    reference: Sequence[GeneratedPair],
) -> dict[str, Any]:
    """Return a row of the table."""
    generator, pairs = made
    figures, repeated = distance(pairs, reference), distance(again[1], pairs)
    identity = generator.backend.identity(generator.bundle)
    half = generator.manifest.precision != "fp32" or identity.get("precision", "fp32") != "fp32"
    psnr, iou = figures.psnr, figures.iou
    passed = psnr >= HALF_PSNR and iou >= HALF_IOU if half else psnr >= FLOAT_PSNR
    return {
        "backend": generator.backend.name,
        **identity,
        "bundle_precision": generator.manifest.precision,
        "pairs": figures.pairs,
        "psnr_db": round(psnr, 2),
        "probability_max_difference": float(f"{figures.probability:.3g}"),
        "mask_iou": round(iou, 5),
        "repeated": {"psnr_db": round(repeated.psnr, 2), "mask_iou": round(repeated.iou, 5)},
        "bound": {"psnr_db": HALF_PSNR, "mask_iou": HALF_IOU} if half else {"psnr_db": FLOAT_PSNR},
        "passed": passed,
    }


def main() -> int:
    """Measure, write, print; return the exit code."""
    parser = result_parser("backend_parity", __doc__)
    parser.add_argument("--bundle", type=Path, default=Path("out/bottle/bundle"))
    parser.add_argument(
        "--also", type=Path, nargs="*", default=[], help="more bundles of the same checkpoint"
    )
    parser.add_argument("--pairs", type=int, default=8, help="of each defect")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0: the backend's own choice")
    options = parser.parse_args()

    generator, reference = make(options.bundle, "cpu", options)
    manifest = generator.manifest
    wanted = [(options.bundle, name) for name in usable(options.bundle) if name != "cpu"]
    wanted += [(bundle, name) for bundle in options.also for name in usable(bundle)]
    rows = []
    for bundle, name in wanted:
        made, again = (make(bundle, name, options) for _ in range(2))
        rows.append(compare(made, again, reference))
        print(
            f"{rows[-1]['bundle_precision']} bundle on {name}: {rows[-1]['psnr_db']} dB, "
            f"IoU {rows[-1]['mask_iou']}, probability within {rows[-1]['probability_max_difference']}; "
            f"made again: {rows[-1]['repeated']['psnr_db']} dB",
            flush=True,
        )
    passed = all(row["passed"] for row in rows)
    run = {row["backend"] for row in rows}
    write_result(
        options.out,
        {
            "benchmark": "backend_parity",
            "product": manifest.product,
            "base": manifest.provenance["base"]["name"],
            "steps": manifest.sampler.steps,
            "guidance": manifest.sampler.guidance,
            "seed": options.seed,
            "reference": {"backend": "cpu", **generator.backend.identity(generator.bundle)},
            "passed": passed,
            "rows": rows,
            "not_measured": [name for name in ("openvino", "cuda", "tensorrt", "rtx") if name not in run],
        },
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
