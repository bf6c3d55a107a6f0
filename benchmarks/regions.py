"""How well the mask head finds defects in regions of photographs that did not train.

    python benchmarks/regions.py out/tiles/checkpoint --product ../shared/data/magnetic_tile

Each held-out pair is seen in a square window of three times its defect's box, at least 48 pixels, that lies
around it by the seed; normals in windows of the same sizes. Masks are read as generation reads them. The IoU
is pooled over the pixels of all of a defect's windows; beside it stands that of a mask that marks everything.
Where the checkpoint was trained on whole pictures, these are what is measured. Exits with 1 where the bar is
missed.
"""

from __future__ import annotations

import time
from pathlib import Path

from machine import result_parser, run, write_result
from mask_iou import held_out

from seas_runtime.methods.seas import SPECK
from seas_train import load_checkpoint
from seas_train.methods.seas.mask_head.evaluation import MaskScores, evaluate_masks
from seas_train.methods.seas.mask_head.latents import Reading

MEAN_BAR, LEAST_BAR, EMPTY_BAR = 0.35, 0.2, 5 / 6


def passes(scores: MaskScores) -> bool:
    """Whether the mean IoU, that of every defect, and the share of empty normals reach their bars."""
    ious = [score.iou for score in scores.defects]
    empty = scores.normals == 0 or scores.empty_normals >= EMPTY_BAR * scores.normals
    return bool(ious) and sum(ious) / len(ious) >= MEAN_BAR and min(ious) >= LEAST_BAR and empty


def table(scores: MaskScores) -> str:
    """The figures, a defect a line."""
    width = max(6, *(len(score.defect) for score in scores.defects), 0)
    lines = [f"{'defect':{width}}  windows    IoU  all marked  precision  recall"]
    lines += [
        f"{s.defect:{width}}  {s.pairs:7}  {s.iou:.3f}  {s.area:10.3f}  {s.precision:9.3f}  {s.recall:6.3f}"
        for s in scores.defects
    ]
    if scores.defects:
        mean = sum(score.iou for score in scores.defects) / len(scores.defects)
        lines.append(f"{'mean':{width}}  {'':7}  {mean:.3f}")
    lines.append(f"normal windows with an empty mask: {scores.empty_normals} of {scores.normals}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print a table, write the figures."""
    parser = result_parser("regions", __doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, as training wrote it")
    parser.add_argument("--product", type=Path, required=True, help="folder of the product's photographs")
    parser.add_argument("--tau", type=float, default=None, help="threshold; the checkpoint's own by default")
    parser.add_argument("--seed", type=int, default=0, help="what noise and windows follow from")
    parser.add_argument("--limit", type=int, default=None, help="pairs of each defect; default all")
    parser.add_argument("--normals", type=int, default=60, help="held-out normals at most")
    arguments = parser.parse_args()

    checkpoint = load_checkpoint(arguments.checkpoint)
    product = held_out(checkpoint, arguments.product)
    generation = checkpoint.meta["generation"]
    started = time.perf_counter()
    scores = evaluate_masks(
        checkpoint,
        checkpoint.artifacts["mask_head"],
        checkpoint.prompts,
        product,
        tau=generation["tau"] if arguments.tau is None else arguments.tau,
        speck=generation.get(SPECK, 0),
        seed=arguments.seed,
        limit=arguments.limit,
        normals=arguments.normals,
        reading=Reading.of(checkpoint.scheduler, generation),
    )
    passed = passes(scores)
    print("windows of regions" if product.regions is not None else "whole pictures: trained without regions")
    print(table(scores))
    print(
        f"bar: mean IoU >= {MEAN_BAR}, each >= {LEAST_BAR}, {EMPTY_BAR:.0%} of normal windows empty: "
        f"{'passed' if passed else 'MISSED'}"
    )
    write_result(
        arguments.out,
        {
            "benchmark": "regions",
            "bar": {"mean": MEAN_BAR, "least": LEAST_BAR, "empty": round(EMPTY_BAR, 4)},
            "passed": passed,
            "product": product.name,
            "regions": None if product.regions is None else product.regions.options.to_dict(),
            "seed": arguments.seed,
            "checkpoint": checkpoint.fingerprint,
            **scores.to_dict(),
            "seconds": round(time.perf_counter() - started, 1),
        },
    )
    return 0 if passed else 1


if __name__ == "__main__":
    run(main)
