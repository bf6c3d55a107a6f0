"""The paper's rules, or those of the authors' code, where the two differ from each other or from ours."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from seas_train.data import Layout
from seas_train.methods.seas.config import AUTHORS_TAU, TrainConfig, authors_guidance


class Reproduced(str, Enum):
    """Whose rules are followed. docs/fidelity.md has them side by side."""

    PAPER = "paper"
    AUTHORS = "authors"


# What both say alike, and what our defaults for small bases leave.
_BOTH: dict[str, dict[str, Any]] = {
    "finetune": {
        "defect_images": 2,
        "normal_images": 2,
        "anomaly_tokens": 4,
        "alignment_weight": 1.0,
        "normal_augmentations": None,
        "noisy_share": 0.0,
        "high_noise_weight": 1.0,
        "region_weight": 1.0,
    },
    "mask_head": {"gamma": 2.0, "alpha": None, "max_timestep": None, "calibrate_to": None},
    "generation": {"tau": AUTHORS_TAU},
}
_RULES: Mapping[Reproduced, Mapping[str, Mapping[str, Any]]] = {
    Reproduced.PAPER: {
        "finetune": {"attention": "paper", "trained_tokens": "new"},
        "generation": {"references": "scaled"},
    },
    Reproduced.AUTHORS: {
        "finetune": {"attention": "authors", "trained_tokens": "all"},
        "mask_head": {"statistics_batches": 0},
        "generation": {"references": "unscaled"},
    },
}


def reproduced(config: TrainConfig, whose: Reproduced, layout: Layout) -> TrainConfig:
    """A configuration with the rules of the paper or of the authors' code.

    Rules only: steps, learning rates, the optimizer and the head's widths stay the base's own. For Stable
    Diffusion 1.x these are the authors' already; for a base as small as `micro` theirs would not learn.
    """
    generation = {"guidance": authors_guidance(layout)}
    changed = config.updated(_BOTH).updated({"generation": generation})
    return changed.updated(_RULES[whose], f"--reproduce {whose.value}")
