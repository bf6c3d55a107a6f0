"""The gates of a pair that is drawn into a photograph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import Fields
from seas_runtime.methods.placed import gates
from seas_runtime.methods.placed.bounds import PlacedBounds, check_gates

SIZE, CELL = 128, 8
LATENTS = np.zeros((4, SIZE // CELL, SIZE // CELL), np.float32)
BOUNDS = PlacedBounds(change=3.0, iou=0.2, seam=6.0)
PLACED = np.zeros((SIZE, SIZE), bool)
PLACED[50:78, 40:84] = True
NEAR = ndimage.distance_transform_cdt(~PLACED, "chessboard")
WEIGHTS = np.clip(1 - (NEAR - 8) / 16, 0, 1).astype(np.float32)  # drawn wholly up to 8 pixels, fading over 16


def flat() -> np.ndarray:
    return np.full((SIZE, SIZE, 3), 120, np.uint8)


def grainy(seed: int = 0) -> np.ndarray:
    """A grey surface with grain of 15 levels."""
    grain = np.random.default_rng(seed).normal(0, 15, (SIZE, SIZE, 1))
    picture: np.ndarray = np.clip(120 + grain, 0, 255).repeat(3, axis=2).astype(np.uint8)
    return picture


def smoothed(picture: np.ndarray) -> np.ndarray:
    """The picture as a VAE that keeps no grain gives it back."""
    smooth = ndimage.gaussian_filter(picture.astype(np.float32), (3, 3, 0))
    made: np.ndarray = np.rint(smooth).astype(np.uint8)
    return made


def with_defect(picture: np.ndarray, levels: int = 40) -> np.ndarray:
    drawn = picture.astype(int)
    drawn[PLACED] -= levels
    made: np.ndarray = np.clip(drawn, 0, 255).astype(np.uint8)
    return made


def judge(window: np.ndarray, drawn: np.ndarray, mask: np.ndarray = PLACED, **changes: Any) -> str | None:
    values = {"latents": LATENTS, "probability": None, "bounds": BOUNDS, "weights": WEIGHTS, **changes}
    return gates.rejection_placed(window, drawn, PLACED, mask, **values)


@pytest.mark.parametrize("window", [flat(), grainy()], ids=["flat", "grainy"])
def test_a_defect_passes(window: np.ndarray) -> None:
    assert judge(window, with_defect(smoothed(window))) is None
    assert judge(window, with_defect(smoothed(window), 8)) is None  # a faint one too


@pytest.mark.parametrize("window", [flat(), grainy()], ids=["flat", "grainy"])
def test_nothing_drawn(window: np.ndarray) -> None:
    for drawn in (window, smoothed(window)):
        assert (judge(window, drawn) or "").startswith("nothing drawn: ")
    elsewhere = smoothed(window)
    elsewhere[:30] = 0
    assert (judge(window, elsewhere) or "").startswith("nothing drawn: ")


def test_change_is_in_grey_levels() -> None:
    assert gates.change(flat(), flat() - np.uint8(12), PLACED, CELL) == pytest.approx(12)
    inside = gates.change(flat(), with_defect(flat(), 40), PLACED, CELL)
    assert 35 < inside < 40  # the border's patches lie half outside


def test_what_the_vae_alone_changes_is_not_pasted() -> None:
    window = grainy()
    rebuilt = smoothed(window) + np.uint8(9)
    assert np.array_equal(gates.as_pasted(window, rebuilt, rebuilt), window)
    pasted = gates.as_pasted(window, with_defect(rebuilt), rebuilt)
    assert np.array_equal(pasted, with_defect(window))
    assert judge(window, pasted) is None
    assert (gates.as_pasted(flat(), flat() * 0 + np.uint8(250), flat() * 0 + np.uint8(10)) == 255).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(value: float) -> None:
    broken = LATENTS.copy()
    broken[0, 0, 0] = value
    assert judge(flat(), flat(), latents=broken) == "non-finite values"
    probability = np.zeros((SIZE, SIZE), np.float32)
    assert judge(flat(), with_defect(flat()), probability=probability) is None
    probability[3, 3] = value
    assert judge(flat(), with_defect(flat()), probability=probability) == "non-finite values"


def test_a_mask_that_is_empty_or_elsewhere() -> None:
    drawn = with_defect(flat())
    assert judge(flat(), drawn, np.zeros_like(PLACED)) == "mask of a defect is empty"
    corner = np.zeros_like(PLACED)
    corner[50:56, 40:60] = True
    share = np.count_nonzero(corner) / np.count_nonzero(PLACED)
    assert judge(flat(), drawn, corner) == (
        f"mask is not where the defect was placed: IoU {share:.2f}, under 0.20"
    )
    assert judge(flat(), drawn, corner, bounds=PlacedBounds(iou=share - 0.01)) is None


@pytest.mark.parametrize("window", [flat(), grainy()], ids=["flat", "grainy"])
def test_a_seam_is_seen_all_around_and_on_one_side(window: np.ndarray) -> None:
    brighter = with_defect(smoothed(window)) + np.uint8(20)
    assert (judge(window, brighter) or "").startswith("visible seam: ")
    side = with_defect(smoothed(window))
    side[:, :40] += np.uint8(25)
    assert (judge(window, side) or "").startswith("visible seam: ")


def test_what_lies_beyond_the_feather_is_no_seam() -> None:
    drawn = with_defect(smoothed(flat()))
    drawn[WEIGHTS == 0] = 0
    inner = ndimage.binary_dilation(WEIGHTS > 0, np.ones((3, 3)), iterations=CELL)
    drawn[inner & (WEIGHTS == 0)] = 120  # beyond the reach of a patch at the feather
    assert judge(flat(), drawn) is None


def test_steps_that_the_photograph_has_itself_hide_a_seam_there_and_nowhere_else() -> None:
    levels = np.random.default_rng(4).uniform(40, 200, (SIZE // CELL, SIZE // CELL, 1))
    window = levels.repeat(CELL, 0).repeat(CELL, 1).repeat(3, 2).astype(np.uint8)
    assert judge(window, with_defect(window + np.uint8(10))) is None
    assert "visible seam" in (judge(flat(), with_defect(flat() + np.uint8(10))) or "")
    window[:, :40] = 120
    side = window.copy()
    side[:, :36] += np.uint8(25)
    assert "visible seam" in (judge(window, with_defect(side)) or "")


def test_a_pasted_picture_without_a_feather_has_no_seam_to_see() -> None:
    assert judge(flat(), with_defect(flat()), weights=np.ones_like(WEIGHTS)) is None


def test_the_order_of_the_reasons() -> None:
    nothing = np.zeros_like(PLACED)
    assert (judge(flat(), flat(), nothing) or "").startswith("nothing drawn")
    assert judge(flat(), with_defect(flat()) + np.uint8(20), nothing) == "mask of a defect is empty"


def test_the_refined_mask_is_cut_inside_the_grown_placement() -> None:
    random = np.random.default_rng(1)
    probability = random.random((SIZE, SIZE), dtype=np.float32)
    near = ndimage.distance_transform_edt(~PLACED) <= gates.GROWTH * CELL
    cut = probability >= np.float32(0.7)
    assert np.array_equal(gates.refine(cut, PLACED, CELL), cut & near)
    assert not gates.refine(probability >= 0, np.zeros_like(PLACED), CELL).any()


@pytest.mark.parametrize("radius", [0, 1, 4, 200])
def test_box_mean_is_scipys(radius: int) -> None:
    image = np.random.default_rng(2).normal(size=(37, 50, 3)).astype(np.float32)
    size = (2 * radius + 1, 2 * radius + 1, 1)
    sums = ndimage.uniform_filter(image.astype(np.float64), size, mode="constant")
    shares = ndimage.uniform_filter(np.ones_like(image, np.float64), size, mode="constant")
    assert np.allclose(gates.box_mean(image, radius), sums / shares, atol=1e-5)


def test_bounds_of_a_defect() -> None:
    generation = {"gates": {"chip": {"change": 7.5, "iou": 0.3, "seam": 9.0}, "scratch": {"seam": 4.0}}}
    check_gates(Fields(generation, "generation"))
    assert PlacedBounds.of(generation, "chip") == PlacedBounds(7.5, 0.3, 9.0)
    assert PlacedBounds.of(generation, "scratch") == PlacedBounds(seam=4.0)
    assert PlacedBounds.of(generation, "stain") == PlacedBounds.of({}, "chip") == PlacedBounds()
    assert PlacedBounds.of({"gates": {"chip": PlacedBounds(1.0).to_dict()}}, "chip") == PlacedBounds(1.0)
    check_gates(Fields({}, "generation"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, r"generation\.gates: expected an object, found 7"),
        ({"chip": 3}, r"gates\['chip'\]: expected an object, found 3"),
        ({"chip": {"change": "3"}}, r"gates\['chip'\]\.change: expected a number from 0\.0 to 255\.0"),
        ({"chip": {"change": float("nan")}}, "expected a number from"),
        ({"chip": {"seam": float("inf")}}, "expected a number from"),
        ({"chip": {"change": 1e9}}, "expected a number from"),
        ({"chip": {"iou": 1.5}}, r"iou: expected a number from 0\.0 to 1\.0"),
        ({"chip": {"iou": True}}, "expected a number from"),
        ({"chip": {"other": 1.0}}, "unknown key 'other'"),
        ({str(number): {} for number in range(1001)}, "at most 1000 entries"),
    ],
)
def test_hostile_bounds_are_refused(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_gates(Fields({"gates": value}, "generation"))
