"""`seas-export evaluate`, with a network whose features can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_export.proof.evaluate import evaluate as evaluation
from seas_export.proof.evaluate.features import Network
from seas_export.proof.evaluate.figures import picture_figures, surface_figures
from seas_export.proof.evaluate.seen import Seen, augmented
from tests.export.commands import Run
from tests.products import write_tiny_product


class Colours(Network):
    """The distance of two pictures is that of their mean colours."""

    name = "colours"
    weights: dict[str, str] = {}  # noqa: RUF012

    def distances(self, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> np.ndarray:
        means = [np.stack([picture.mean((0, 1)) for picture in side]) for side in (ours, theirs)]
        return np.abs(means[0][:, None] - means[1][None]).sum(2)


def plain(value: int) -> np.ndarray:
    return np.full((16, 16, 3), value, np.uint8)


def test_copies_are_nearer_than_slight_changes_and_others_are_not() -> None:
    """Brightness moves a picture by 36, a shift or a mirror by nothing, a turn by what it blackens."""
    random = np.random.default_rng(0)
    training = [random.integers(60, 180, (16, 16, 3)).astype(np.uint8) for _ in range(2)]
    bound = np.median(Colours().distances(training[:1], augmented(training[:1])))
    near, far = training[0], np.clip(training[0].astype(int) + 60, 0, 255).astype(np.uint8)
    assert bound > 0
    found = picture_figures(Colours(), Seen((near, far)), Seen(tuple(training)), Seen((training[0],)))
    assert found["copies[colours]"] == 0.5
    expected = Colours().distances([near], [far])[0, 0]
    assert found["ic-lpips[colours]"] == pytest.approx(expected)


def test_a_defect_is_looked_at_alone() -> None:
    mask = np.zeros((16, 16), bool)
    mask[2:6, 3:9] = True
    alone = Seen((plain(200),), (mask,)).alone()[0]
    assert alone.shape[0] == alone.shape[1] < 16
    assert (alone == 200).sum() == 3 * mask.sum()


def test_a_smooth_defect_has_less_grain_than_what_is_around_it() -> None:
    random = np.random.default_rng(0)
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    rough = random.normal(0, 1, (64, 64))
    levels = 100 + np.where(mask, 30 + 3 * rough, 6 * rough)
    picture = np.repeat(levels[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
    found = surface_figures(Seen((picture,), (mask,)))
    assert found["contrast"][1] == pytest.approx(30, abs=1)
    assert found["grain"][1] == pytest.approx(0.5, abs=0.05)
    everything = surface_figures(Seen((picture,), (np.ones((64, 64), bool),)))
    assert everything == {"contrast": None, "grain": None}  # nothing lies around it


def test_a_folder_without_a_data_set_is_refused(run: Run, toy_product: Path, tmp_path: Path) -> None:
    ended = run("evaluate", tmp_path, "--real", toy_product)
    assert ended.code == 2
    assert "expected the folder of a data set" in ended.err


def test_a_data_set_is_evaluated_kind_by_kind(
    run: Run, toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "networks", lambda weights: ([Colours()], ["is, kid: not measured"]))
    out = tmp_path / "dataset"
    made = run("generate", toy_bundle, "--defect", "all", "--count", 3, "--out", out, "--no-gate")
    assert made.code == 0, made.err
    product = write_tiny_product(tmp_path / "plate")
    names = sorted(path.name for path in (out / "test").iterdir())
    for old, new in zip(("dark_line", "Spot"), names, strict=False):  # the product has the bundle's defects
        for part in ("test", "ground_truth"):
            (product / part / old).rename(product / part / new)
    ended = run("evaluate", out, "--real", product, "--json")
    assert ended.code == 0, ended.err
    found = ended.json
    assert names[0] in found["kinds"]
    kind = found["kinds"][names[0]]
    assert 0 <= kind["accepted"] <= 1
    masks = [
        np.asarray(Image.open(file)) > 127 for file in sorted((out / "ground_truth" / names[0]).iterdir())
    ]
    shares = [mask.mean() for mask in masks if mask.any()]  # empty ones are no pairs
    assert kind["pictures"] == len(shares) > 0
    assert kind["masks"]["generated"]["share"][1] == pytest.approx(np.median(shares), abs=1e-5)
    assert found["not measured"] == ["is, kid: not measured"]
    assert {*kind["surface"]} == {"generated", "real"}
    assert found["kinds"]["good"]["masks"] is None
