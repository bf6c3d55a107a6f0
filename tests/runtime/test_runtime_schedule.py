from __future__ import annotations

import numpy as np
import pytest

from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import Schedule, schedules_from_tensors
from tests.runtime.bundles import toy_schedules
from tests.schedules import apply_step, scaled_input

START = np.array([0.1, 0.9], np.float32)


def table(steps: int = 3) -> np.ndarray:
    return np.zeros((steps, 8), np.float32)


def test_tensors_round_trip() -> None:
    tensors = {key: value for item in toy_schedules() for key, value in item.to_tensors().items()}
    schedules = schedules_from_tensors(tensors, "schedule.safetensors")
    assert list(schedules) == ["ddim_eta/4", "dpmpp_2m/3", "dpmpp_2m/5"]
    assert [item.noisy_steps for item in schedules.values()] == [(0, 1, 2), (), ()]
    assert np.array_equal(schedules["dpmpp_2m/5"].table, tensors["dpmpp_2m/5"])


def test_apply_step_is_the_formula() -> None:
    row = np.array([[0, 0, 0, 0, 0, 0, 0, 0], [500, 0.5, 2, -3, 5, 7, 11, 13]], np.float32)
    schedule = Schedule("x", row, START)
    x, old, e, noise = (np.full((1, 1, 1, 1), value, np.float32) for value in (1, 2, 4, 8))
    following, x0 = apply_step(schedule, 1, x, old, e, noise)
    assert x0.item() == 2 * 1 - 3 * 4
    assert following.item() == 5 * 1 + 7 * x0.item() + 11 * 2 + 13 * 8
    without, _ = apply_step(schedule, 1, x, old, e)
    assert without.item() == following.item() - 13 * 8
    assert scaled_input(schedule, 1, x).item() == 0.5


def test_start_latents() -> None:
    reference, noise = np.full((2, 1, 1, 1), 10, np.float32), np.full((2, 1, 1, 1), 100, np.float32)
    assert np.allclose(Schedule("x", table(), START).start_latents(reference, noise), 91)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x/3": table(4)}, "expected 3 steps, found 4"),
        (
            {"x/3": table().astype(np.float64)},
            r"expected float32 \[steps, 8\] or \[steps, 10\], found float64 \[3, 8\]",
        ),
        ({"x/3": table()[:, :7]}, r"found float32 \[3, 7\]"),
        ({"x/3": table()[0]}, r"found float32 \[8\]"),
        ({"x/3": np.full((3, 8), np.nan, np.float32)}, "expected finite values"),
        ({"x/3": np.ones((3, 8), np.float32)}, "expected c = 0 in the first step, found 1"),
        ({"x/3/start": np.zeros(3, np.float32)}, r"its start: expected float32 \[2\], found float32 \[3\]"),
        ({"x/3/start": np.full(2, np.inf, np.float32)}, "expected finite values"),
        ({"y/2": table(2)}, "the start of 'y/2' is missing"),
        ({"y/2/start": START}, "'y/2/start' has no table"),
        ({"nonsense": table()}, "expected keys like 'dpmpp_2m/25'"),
    ],
)
def test_bad_tables(change: dict[str, np.ndarray], message: str) -> None:
    tensors = {"x/3": table(), "x/3/start": START, **change}
    with pytest.raises(UserError, match=message) as error:
        schedules_from_tensors(tensors, "schedule.safetensors")
    assert str(error.value).startswith("schedule.safetensors")
