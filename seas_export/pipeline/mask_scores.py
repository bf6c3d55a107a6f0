"""Scores a checkpoint's mask head on the pairs that did not train."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.config.build import EvaluateConfig
from seas_runtime.files import sha256_file, write_json

if TYPE_CHECKING:
    from seas_train.data import Product


def held_out(product: Product, config: EvaluateConfig) -> dict[str, Any]:
    """The files to score, by their contents: what scores follow from besides the checkpoint."""
    pairs = {
        defect.name: [
            [sha256_file(pair.image), sha256_file(pair.mask)] for pair in defect.test[: config.pairs]
        ]
        for defect in product.defects
    }
    normals: Iterable[Path] = product.test_normals[: config.normals]
    return {"pairs": pairs, "normals": [sha256_file(path) for path in normals]}


def score_masks(
    checkpoint: Path, product: Product, config: EvaluateConfig, tau: float | None, seed: int, out: Path
) -> None:
    """Score the mask head and write the scores as JSON; a defect without a held-out pair is left out.

    The models run in bfloat16 where the head was trained so and this CPU computes it.

    tau: threshold on the mean probability, None for the checkpoint's own.

    Raises:
        UserError: the checkpoint is broken, or `out` cannot be written.
    """
    from seas_train import load_checkpoint
    from seas_train.methods.seas.mask_head.evaluation import evaluate_masks

    defects = tuple(defect for defect in product.defects if defect.test)
    if not defects:
        write_json(out, {"defects": {}, "note": "no pair was held out: every one of them trains"})
        return
    loaded = load_checkpoint(checkpoint)
    half = bool(loaded.meta.get("training", {}).get("mask_head", {}).get("half_precision", False))
    scores = evaluate_masks(
        loaded,
        loaded.artifacts["mask_head"],
        loaded.prompts,
        replace(product, defects=defects),
        tau=loaded.meta["generation"]["tau"] if tau is None else tau,
        seed=seed,
        limit=config.pairs,
        normals=config.normals,
        half_precision=half,
    )
    write_json(out, scores.to_dict())
