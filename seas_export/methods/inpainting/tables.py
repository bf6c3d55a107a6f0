"""Tables and the manifest's section `generation` that all these methods have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from seas_export.methods.seas.real_windows import feature_table, placed_generation
from seas_runtime.manifest.schedule import Array
from seas_runtime.methods.blending.inputs import BLEND, FRESH, STRENGTH
from seas_runtime.methods.checks.seas_tables import EMBEDDINGS, REFERENCES
from seas_runtime.methods.placed.score import FEATURES
from seas_runtime.placement.masks.shapes import TABLE as PLACEMENT
from seas_train import Checkpoint


def base_tables(
    checkpoint: Checkpoint, contexts: Mapping[str, Tensor], context: Callable[[str], Tensor]
) -> dict[str, dict[str, Array]]:
    """Return contexts, references, shapes of masks and features of real windows.

    contexts: [L, D] by key. context: of a defect, [1, L, D], under which features are taken.
    """
    made: dict[str, dict[str, Array]] = {
        EMBEDDINGS: {key: value.contiguous().numpy() for key, value in contexts.items()},
        REFERENCES: {"latents": checkpoint.references.numpy()},
    }
    if checkpoint.placement is not None and checkpoint.placement.shapes:
        made[PLACEMENT] = dict(checkpoint.placement.table)
    if real := feature_table(checkpoint, context):
        made[FEATURES] = dict(real)
    return made


def base_generation(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return how pairs are blended: the background is noised anew before each step."""
    settings = checkpoint.meta["generation"]
    made: dict[str, Any] = {BLEND: FRESH}
    if settings.get(STRENGTH, 1.0) != 1:
        made[STRENGTH] = float(settings[STRENGTH])
    return {**made, **placed_generation(checkpoint)}
