"""Ten steps of each stage by the command line, on the sample product and a tiny base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from seas_export.cli import main
from seas_train.sample.write import write_sample
from tests.bases import write_tiny_base

SEED = 3
OPTIONS = {
    "finetune": {"steps": 10, "half_precision": "false", "normal_augmentations": 2},
    "mask_head": {
        **{"steps": 10, "half_precision": "false", "statistics_batches": 2},
        **{"coarse_width": 8, "fine_width": 8, "heads": 2, "groups": 4, "depth": 1},
    },
}


def losses(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Train in `folder`; return the lines of both stages' `losses.jsonl`."""
    torch.set_num_threads(1)
    product = write_sample(folder / "products", size=64, train_good=4, test_good=3, defective=5)
    base = write_tiny_base(folder / "base")
    words = ["train", product, "--base", base, "--out", folder / "checkpoint", "--run", folder / "run"]
    words += ["--shots", 2, "--seed", SEED, "--regions", "off"]
    for stage, options in OPTIONS.items():
        for name, value in options.items():
            words += ["--set", f"{stage}.{name}={value}"]
    assert main([str(word) for word in words]) == 0
    return {stage: _lines(folder / "run" / stage / "losses.jsonl") for stage in OPTIONS}


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
