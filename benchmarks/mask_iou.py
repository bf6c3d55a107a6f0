"""How well the mask head finds the defects of pairs that did not train.

    python benchmarks/mask_iou.py out/bottle/checkpoint --product out/bottle/sample/bottle

Each held-out photograph is encoded, noised at the last three timesteps of the 25-step DPM-Solver++
schedule, and run through the fine-tuned U-Net under its defect's prompt; the head's three probability maps
are averaged and thresholded, as in generation. IoU is pooled over the pixels of all of a defect's pairs.
Exits with 1 where the bar is missed.
"""

from __future__ import annotations

import time
from pathlib import Path

from machine import result_parser, run, write_result

from seas_runtime.errors import UserError
from seas_runtime.methods.seas import SPECK
from seas_train import Checkpoint, load_checkpoint
from seas_train.data import Layout, PhotographsConfig, Preprocessing, Product, Window, load_product
from seas_train.data.split import regions_of
from seas_train.methods.seas.mask_head.evaluation import evaluate_masks
from seas_train.methods.seas.mask_head.latents import Reading

BAR = 0.6


def held_out(checkpoint: Checkpoint, folder: Path) -> Product:
    """Load the product as it was split for training.

    Raises:
        UserError: these are not the photographs that the checkpoint was trained on, or not its split.
    """
    meta = checkpoint.meta
    preprocessing = Preprocessing.from_dict(meta["preprocessing"])
    size, factor = preprocessing.size, checkpoint.geometry.latent_factor
    for shots in (None, *sorted(set(meta["shots"].values()))):  # trained without or with --shots
        config = PhotographsConfig(
            layout=Layout(meta["layout"]),
            fit=preprocessing.fit,
            window=preprocessing.window or Window.FULL,
            masks=preprocessing.masks,
            resize=preprocessing.resize,
            **regions_of(meta.get("regions")),
            shots=shots,
            normals=meta["normals"],
            defects=checkpoint.defects,
        )
        product = load_product(folder, config, size=size, latent_factor=factor)
        if product.fingerprint == meta["data_fingerprint"]:
            return product
    raise UserError(
        f"{folder}: expected the photographs that {checkpoint.path} was trained on "
        f"(data fingerprint {meta['data_fingerprint'][:12]}), found others ({product.fingerprint[:12]})"
    )


def main() -> int:
    """Measure, print a table, write the figures."""
    parser = result_parser("mask_iou", __doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, as training wrote it")
    parser.add_argument("--product", type=Path, required=True, help="folder of the product's photographs")
    parser.add_argument("--tau", type=float, default=None, help="threshold; the checkpoint's own by default")
    parser.add_argument("--seed", type=int, default=0, help="what the noise follows from")
    parser.add_argument("--limit", type=int, default=None, help="pairs of each defect; default all")
    arguments = parser.parse_args()

    checkpoint = load_checkpoint(arguments.checkpoint)
    product = held_out(checkpoint, arguments.product)
    tau = checkpoint.meta["generation"]["tau"] if arguments.tau is None else arguments.tau
    started = time.perf_counter()
    scores = evaluate_masks(
        checkpoint,
        checkpoint.artifacts["mask_head"],
        checkpoint.prompts,
        product,
        tau=tau,
        reading=Reading.of(checkpoint.scheduler, checkpoint.meta["generation"]),
        speck=checkpoint.meta["generation"].get(SPECK, 0),
        seed=arguments.seed,
        limit=arguments.limit,
        normals=arguments.limit,
    )
    passed = bool(scores.defects) and all(score.iou >= BAR for score in scores.defects)
    print(scores.to_text())
    print(f"bar: IoU >= {BAR} per defect: {'passed' if passed else 'MISSED'}")
    write_result(
        arguments.out,
        {
            "benchmark": "mask_iou",
            "bar": BAR,
            "passed": passed,
            "product": product.name,
            "seed": arguments.seed,
            "checkpoint": checkpoint.fingerprint,
            **scores.to_dict(),
            "seconds": round(time.perf_counter() - started, 1),
        },
    )
    return 0 if passed else 1


if __name__ == "__main__":
    run(main)
