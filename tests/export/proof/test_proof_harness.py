"""Whether the harness tells sets apart that are known to be good, useless and harmful."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_export.proof.prove import Proof, prove
from seas_export.proof.request import ProofOptions, ProveRequest
from seas_export.proof.results.summary import POOLED
from seas_export.proof.sets.held_out import Half
from seas_train.data import PhotographsConfig
from seas_train.proof.fitting import Recipe
from tests.textured import DEFECTS, write_pair, write_textured_product

TRAIN, PAIRS = 4, 16
"""Pairs that train of all pairs of a defect."""
SHIFT = 0.1
"""By how much of the pictures' side masks are off."""


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def copies(product: Path, out: Path) -> Path:
    """A data set of the held-out pairs themselves."""
    shutil.copytree(product / "train", out / "train")
    for defect in DEFECTS:
        for index in range(TRAIN, PAIRS):
            image = pixels(product / "test" / defect / f"{index:03d}.png")
            mask = pixels(product / "ground_truth" / defect / f"{index:03d}_mask.png")
            write_pair(out, defect, index, image, mask > 0)
    return out


def noise(product: Path, out: Path) -> Path:
    """A data set of noise with masks that mark nothing that is there."""
    random = np.random.default_rng(5)
    shutil.copytree(product / "train", out / "train")
    for defect in DEFECTS:
        for index in range(TRAIN, PAIRS):
            mask = pixels(product / "ground_truth" / defect / f"{index:03d}_mask.png")
            write_pair(out, defect, index, random.integers(0, 256, mask.shape).astype(np.uint8), mask > 0)
    return out


def shifted(product: Path, out: Path) -> Path:
    """The copies with masks that lie a tenth of the picture beside the defects."""
    shutil.copytree(copies(product, out.with_name("to_shift")), out)
    for file in out.glob("ground_truth/*/*.png"):
        mask = pixels(file)
        moved = np.roll(mask, round(SHIFT * mask.shape[0]), axis=(0, 1))
        Image.fromarray(moved).save(file)
    return out


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    """All three beside the real pairs, with two seeds each."""
    root = tmp_path_factory.mktemp("proof")
    product = write_textured_product(root / "plate", pairs=PAIRS, normals=8)
    sets = {"copies": copies, "noise": noise, "shifted": shifted}
    named = {name: make(product, root / name) for name, make in sets.items()}
    recipe = Recipe(segmenter="small", steps=110, batch=8, crop=32, rate=5e-3, share=0.75)
    options = ProofOptions(recipe=recipe, seeds=2, half=Half.ALL, copy_paste=False, alone=False)
    photographs = PhotographsConfig(shots=TRAIN)
    made = prove(ProveRequest(product, named, root / "out", options, photographs, workers=1), print)
    assert isinstance(made, Proof)
    return made


def mean(proof: Proof, arm: str, figure: str = "iou") -> float:
    spread = proof.summary.figures[arm][POOLED][figure]
    assert spread is not None
    return spread.mean


def test_copies_of_held_out_pairs_score_near_the_ceiling(proof: Proof) -> None:
    assert mean(proof, "real + copies") > 0.7
    assert mean(proof, "real + copies") > mean(proof, "real") + 0.1
    assert mean(proof, "real + copies", "ap") > 0.85


def test_noise_does_not_help(proof: Proof) -> None:
    """Half of the held-out defects are of a kind that real pairs do not show: nothing finds these."""
    assert mean(proof, "real + noise", "detected") <= mean(proof, "real", "detected") + 0.03
    assert mean(proof, "real + noise", "ap") < mean(proof, "real", "ap") + 0.1
    assert mean(proof, "real + noise", "ap") < mean(proof, "real + copies", "ap") - 0.3


def test_masks_that_are_off_by_a_tenth_are_punished(proof: Proof) -> None:
    assert mean(proof, "real + shifted") < mean(proof, "real + copies") - 0.3
    found = [one for one in proof.summary.comparisons if one.arm == "real + shifted"]
    assert found[0].scope == POOLED
    assert found[0].difference.figure == "iou"


def test_the_verdict_on_copies_is_better_and_they_are_called_a_ceiling(proof: Proof) -> None:
    pooled = {
        (one.arm, one.difference.figure): one.difference.verdict
        for one in proof.summary.comparisons
        if one.scope == POOLED
    }
    assert pooled["real + copies", "iou"] == "better"
    assert any(
        "copies: 24 of its pictures are photographs that are tested on" in note for note in proof.notes
    )
