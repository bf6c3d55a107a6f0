"""How far the masks of another mask head are those of a checkpoint's own.

    python benchmarks/mask_agreement.py bottle/checkpoint --product photos/bottle --other small --seeds 1

Heads read masks of the product's held-out photographs, as `mask_iou.py` has them, all from the same noise. An
`--other` is a checkpoint that shares the fine-tuning (the same data, base and settings), such as one trained
with `--set mask_head.decoder=small`. For each of `--seeds` a head of the checkpoint's own kind is trained
anew from other first weights, on other draws: what two trainings of one thing agree on, no other thing can
beat by much. IoU of both masks is pooled over the pixels of all pairs of a defect, and of all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from machine import result_parser, run, write_result
from mask_iou import held_out
from numpy.typing import NDArray

from seas_runtime.errors import UserError
from seas_runtime.figures import iou, overlap
from seas_runtime.methods.seas import SPECK
from seas_train import Checkpoint, load_checkpoint
from seas_train.data import Product
from seas_train.methods.seas.distill.config import trained_config
from seas_train.methods.seas.distill.training import examples_of, teacher_of
from seas_train.methods.seas.mask_head.evaluation import predict_masks
from seas_train.methods.seas.mask_head.latents import Reading
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.methods.seas.mask_head.stage import train_mask_head
from seas_train.training.loop import run_training

Masks = dict[str, list[NDArray[np.bool_]]]


def masks_of(checkpoint: Checkpoint, head: MaskHead, product: Product, limit: int | None) -> Masks:
    """Return the head's masks [H, W] of each defect's held-out photographs."""
    generation = checkpoint.meta["generation"]
    reading = Reading.of(checkpoint.scheduler, generation)
    return {
        defect.name: predict_masks(
            checkpoint,
            head,
            checkpoint.prompts[defect.name],
            product,
            [product.judged_pair(pair, 0) for pair in defect.test[:limit]],
            defect.name,
            reading,
            generation["tau"],
            generation.get(SPECK, 0),
        )
        for defect in product.defects
    }


def another_head(checkpoint: Checkpoint, product: Product, seed: int) -> MaskHead:
    """Return a head that was trained as the checkpoint's own was, but from another seed."""
    tuned = teacher_of(checkpoint)
    config = trained_config(checkpoint.meta["training"], tuned.models, product)
    with tempfile.TemporaryDirectory() as folder:
        run = partial(run_training, run_dir=Path(folder), config=config.loop, progress=True)
        reading = Reading.of(checkpoint.scheduler, checkpoint.meta["generation"])
        examples = examples_of(product, checkpoint, config)
        head, _ = train_mask_head(tuned, examples, config.mask_head, seed, reading, run)
    return head


def pooled(first: list[NDArray[np.bool_]], second: list[NDArray[np.bool_]]) -> float:
    """Return the IoU of masks, pooled over pixels."""
    counts = [overlap(one, other) for one, other in zip(first, second, strict=True)]
    return round(iou(sum(both for both, _ in counts), sum(either for _, either in counts)), 4)


def agreement(own: Masks, other: Masks) -> dict[str, Any]:
    """Return the IoU of each defect's masks, and of all."""
    each = {defect: pooled(masks, other[defect]) for defect, masks in own.items() if masks}
    every = ([*chain.from_iterable(masks.values())] for masks in (own, other))
    return {"pooled": pooled(*every), "defects": each}


def main() -> int:
    """Measure and write the figures."""
    parser = result_parser("mask_agreement", __doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--product", type=Path, required=True, help="folder of the product's photographs")
    parser.add_argument("--other", type=Path, nargs="*", default=[], help="checkpoints to compare with")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="of heads to train anew")
    parser.add_argument("--limit", type=int, help="pairs of each defect; default all")
    given = parser.parse_args()
    checkpoint = load_checkpoint(given.checkpoint)
    product = held_out(checkpoint, given.product)
    own = masks_of(checkpoint, checkpoint.artifacts["mask_head"], product, given.limit)
    found = {}

    def others() -> Iterator[tuple[str, Masks]]:
        for folder in given.other:
            other = load_checkpoint(folder)
            if other.meta["data_fingerprint"] != checkpoint.meta["data_fingerprint"]:
                raise UserError(f"{folder}: expected the photographs of {given.checkpoint}, found others")
            yield folder.name, masks_of(other, other.artifacts["mask_head"], product, given.limit)
        for seed in given.seeds:
            head = another_head(checkpoint, product, seed)
            yield f"seed {seed}", masks_of(checkpoint, head, product, given.limit)

    for name, masks in others():
        found[name] = agreement(own, masks)
        print(f"{name}: {found[name]}", flush=True)
    write_result(
        given.out,
        {"benchmark": "mask_agreement", "product": product.name, "against": "its own head", "heads": found},
    )
    return 0


if __name__ == "__main__":
    run(main)
