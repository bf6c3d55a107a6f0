"""From the authors' training output to a checkpoint of ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_runtime.methods.seas import MASK_STEPS, START_TIMESTEPS
from seas_train.data import Product
from seas_train.data.names import match_key, shown_label
from seas_train.diffusion.examples import Examples
from seas_train.diffusion.solver import SolverRules, base_spacing
from seas_train.methods.seas.authors.generation import Generation
from seas_train.methods.seas.authors.head import read_authors_head
from seas_train.methods.seas.authors.prompts import (
    TOKENS_PER_DEFECT,
    AuthorsPrompts,
    check_tokens,
    count_defects,
    make_prompts,
)
from seas_train.methods.seas.authors.statistics import PAIRS, measure_statistics
from seas_train.methods.seas.checkpoint import save_checkpoint
from seas_train.methods.seas.config import AUTHORS_TAU, ShortSchedules, authors_guidance
from seas_train.methods.seas.prompts import FineTuned
from seas_train.methods.seas.taps import TapGeometry

# The authors' sampler as their code has it; the toolkit's defaults are the same.
SAMPLER = {
    "sampler": "dpmpp_2m",
    "final_sigmas_type": "sigma_min",
    "steps": 25,
    "start_timesteps": START_TIMESTEPS,
    "mask_steps": MASK_STEPS,
}


@dataclass(frozen=True)
class Imported:
    """An imported checkpoint."""

    checkpoint: Path
    """Its folder."""
    prompts: AuthorsPrompts
    """With the defects in the order of their tokens."""
    references: int
    """Number of normal photographs that became references."""
    guidance: float
    tau: float
    spacing: str
    """Of the sampler's timesteps, as the scheduler's file says."""


def import_checkpoint(
    generation: Generation,
    mask: Path,
    product: Product,
    out: Path,
    *,
    defects: Sequence[str] | None = None,
    guidance: float | None = None,
    tau: float | None = None,
    keep_statistics: bool = False,
    anomaly_tokens: int = TOKENS_PER_DEFECT,
) -> Imported:
    """Write a checkpoint folder from the authors' models and mask head; it appears whole or not at all.

    Args:
        generation: their fine-tuned models with the base's VAE.
        mask: their `mask-checkpoint/rmp`.
        product: the photographs: its training normals become the references, its defects' folders name the
            defects where `defects` does not.
        out: the checkpoint folder to make.
        defects: the names of the folders of all defects that were trained, in any order.
        guidance: by default the authors' for the layout of the photographs: 8, VisA 2, MVTec 3D AD 5.
        tau: by default the authors' 0.2.
        keep_statistics: keep the head's stored statistics, which are training's; otherwise they are measured
            anew on pairs that are generated for it.
        anomaly_tokens: of each defect, as many as were trained.

    Raises:
        UserError: tokens, names, mask head and models do not fit together, or nothing can be written.
    """
    models = generation.models
    tokenizer_folder = "--generation: tokenizer"
    count, normals = count_defects(models.tokenizer, tokenizer_folder, anomaly_tokens)
    labels = [entry.label for entry in product.report.defects] if defects is None else list(defects)
    source = f"--data {product.root}" if defects is None else "--defect"
    prompts = make_prompts(labels, count, source, anomaly_tokens, normals)
    check_tokens(models.tokenizer, prompts, models.geometry.context_length, tokenizer_folder)
    if mask.is_dir():
        raise UserError(f"--mask {mask}: expected a file, found a folder; give mask-checkpoint/rmp in it")
    head = read_authors_head(mask, TapGeometry.of(models.unet, models.vae, "--generation"))

    examples = Examples(product, models.geometry, rotate=False, flip=False)
    examples.use(models.vae)
    references = examples.references()
    guidance = authors_guidance(product.layout) if guidance is None else guidance
    tau = AUTHORS_TAU if tau is None else tau
    rules = {
        "timestep_spacing": base_spacing(models.scheduler.config),
        "short_schedules": ShortSchedules.FIRST_ORDER.value,
    }
    if not keep_statistics:
        measure_statistics(
            head,
            models,
            [prompts.texts[defect] for defect in prompts.defects],
            references,
            guidance=guidance,
            rules=SolverRules.of(rules),
        )
    sources: dict[str, Any] = {
        "generation": generation.fingerprint,
        "mask": sha256_file(mask),
        "base": models.fingerprint,
        "data": product.fingerprint,
        "defects": list(prompts.defects),
        **({} if keep_statistics else {"statistics": {"measured_on": PAIRS, "guidance": guidance}}),
    }
    named = zip(prompts.defects, sorted(labels), strict=True)
    shown = {name: shown_label(label) for name, label in named if match_key(label) != match_key(name)}
    shots = {defect.label: len(defect.train) for defect in product.defects}
    save_checkpoint(
        out,
        FineTuned(models, prompts, generation.fingerprint),
        head,
        references,
        {
            "product": product.name,
            **({} if product.label == product.name else {"product_label": product.label}),
            **({"labels": shown} if shown else {}),
            "preprocessing": product.preprocessing.to_dict(),
            "layout": product.layout.value,
            "data_fingerprint": product.fingerprint,
            "normals": len(product.normals),
            "shots": {
                defect: shots.get(label, 0)
                for defect, label in zip(prompts.defects, sorted(labels), strict=True)
            },
            "training": {"imported_from": "HUST-SLOW/SeaS", "files": sources, **SAMPLER},
            "losses": {},
            "generation": {"guidance": guidance, "tau": tau, **rules},
            "fingerprint": hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest(),
        },
        replace(product, defects=tuple(d for d in product.defects if d.name in prompts.defects)),
    )
    return Imported(out, prompts, len(references), guidance, tau, rules["timestep_spacing"])
