"""The paper's rules, or those of the authors' code, where the two differ from each other or from ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from seas_train.data import Layout, PhotographsConfig, Regions
from seas_train.data.images.preprocessing import Resize
from seas_train.methods.seas.config import AUTHORS_TAU, TrainConfig, authors_guidance
from seas_train.methods.seas.finetune.config import NormalTerm


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
    "generation": {"tau": AUTHORS_TAU, "speck_share": 0.0},
}
_RULES: Mapping[Reproduced, Mapping[str, Mapping[str, Any]]] = {
    Reproduced.PAPER: {
        "finetune": {"attention": "paper", "trained_tokens": "new"},
        "generation": {"references": "scaled"},
    },
    Reproduced.AUTHORS: {
        "finetune": {
            "attention": "authors",
            "trained_tokens": "all",
            "alignment_mask": "fractions",
            "paired_normals": True,
            "mirrored_share": 2 / 3,
        },
        "mask_head": {
            "statistics_batches": 0,
            "normal_path": "features",
            "coarse_statistics": True,
            "decoded": "ddpm",
            "coarse_target": "whole",
            "focal_mean": "maps",
            "focal_smoothing": 1e-5,
            "optimizer": {"gradient_accumulation": 2, "eight_bit": True},
        },
        "generation": {
            "references": "unscaled",
            "start": "in_order",
            "threshold": "above",
            "timestep_spacing": "base",
            "short_schedules": "first_order",
        },
    },
}


def reproduced_photographs(config: PhotographsConfig, rules: str | None) -> PhotographsConfig:
    """How photographs are read by the rules of `rules`, None for ours; what is said already stays."""
    if rules is None:
        return config
    if config.regions is Regions.AUTO:  # both know whole pictures alone
        config = replace(config, regions=Regions.OFF)
    if rules == Reproduced.AUTHORS.value and config.resize is None:
        config = replace(config, resize=Resize.BILINEAR)
    return config


def reproduced(config: TrainConfig, whose: Reproduced, layout: Layout) -> TrainConfig:
    """A configuration with the rules of the paper or of the authors' code.

    Rules only: steps, learning rates, stage 1's optimizer and the head's widths stay the base's own. For
    Stable Diffusion 1.x these are the authors' already; for a base as small as `micro` theirs would not
    learn.
    """
    of_layout: dict[str, dict[str, Any]] = {"generation": {"guidance": authors_guidance(layout)}}
    if whose is Reproduced.AUTHORS:
        touched = layout in (Layout.VISA, Layout.MVTEC3D)
        term = NormalTerm.TOUCHED if touched else NormalTerm.WHOLE
        of_layout["finetune"] = {"normal_term": term.value}
    changed = config.updated(_BOTH).updated(of_layout)
    return changed.updated(_RULES[whose], f"--reproduce {whose.value}")
