"""The smallest of the compressed bases through everything: train, export, generate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bases import IMAGE_SIZE, write_tiny_base
from tests.export.commands import Run

# BK-SDM-Tiny's U-Net at a tenth of its width: one layer a block, no mid block, no innermost level.
BK_TINY = {
    "block_out_channels": (16, 16, 32),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
    "mid_block_type": None,
    "layers_per_block": 1,
}


@pytest.mark.slow
def test_bk_sdm_tinys_geometry_trains_exports_and_generates(
    run: Run, toy_product: Path, tmp_path: Path
) -> None:
    base = write_tiny_base(tmp_path / "base", unet=BK_TINY)
    options = ["finetune.steps=2", "mask_head.steps=2", "mask_head.statistics_batches=1", "save_every=2"]
    options += ["preview_every=0", "mask_head.half_precision=false"]
    sets = [word for option in options for word in ("--set", option)]
    trained = run("train", toy_product, "--base", base, "--out", tmp_path / "checkpoint", *sets)
    assert trained.code == 0, trained.err
    exported = run("export", tmp_path / "checkpoint", "--out", tmp_path / "bundle", "--steps", 4, "--json")
    assert exported.code == 0, exported.err
    assert exported.json["parity"]["passed"] is True
    made = run(
        "generate",
        tmp_path / "bundle",
        "--defect",
        "spot",
        "--count",
        2,
        "--out",
        tmp_path / "out",
        "--no-gate",
    )
    assert made.code == 0, made.err
    assert len(list((tmp_path / "out").glob("test/spot/*.png"))) == 2
    assert len(list((tmp_path / "out").glob("ground_truth/spot/*_mask.png"))) == 2
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["image"]["height"] == IMAGE_SIZE
