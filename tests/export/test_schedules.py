from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from seas_export.graphs.schedules import (
    DDIM,
    DPMPP_2M,
    START_TIMESTEPS,
    STEP_COUNTS,
    make_schedule,
    make_scheduler,
    make_schedules,
    make_start_scheduler,
)
from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import Schedule, schedules_from_tensors
from tests.schedules import apply_step, scaled_input

SHAPE = (2, 4, 8, 8)


def config(**changes: object) -> dict[str, object]:
    """Stable Diffusion 1.4's scheduler configuration."""
    values = {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
    }
    return {**values, **changes}


@pytest.mark.parametrize("sampler", [DPMPP_2M, DDIM])
@pytest.mark.parametrize("steps", [*STEP_COUNTS, 1, 2, 7, 40])
def test_table_is_diffusers_scheduler_step_by_step(sampler: str, steps: int) -> None:
    schedule = make_schedule(sampler, config(), steps)
    scheduler = make_scheduler(sampler, config(), steps)
    random = np.random.default_rng(steps)
    latents = random.standard_normal(SHAPE).astype(np.float32)
    theirs, previous = torch.from_numpy(latents), np.zeros(SHAPE, np.float32)
    assert len(scheduler.timesteps) == schedule.steps == steps
    for index, timestep in enumerate(scheduler.timesteps):
        prediction = random.standard_normal(SHAPE).astype(np.float32)
        assert schedule.table[index, 0] == timestep
        assert np.array_equal(
            scaled_input(schedule, index, latents),
            scheduler.scale_model_input(torch.from_numpy(latents), timestep),
        )
        latents, previous = apply_step(schedule, index, latents, previous, prediction)
        theirs = scheduler.step(torch.from_numpy(prediction), timestep, theirs).prev_sample
        assert np.abs(latents - theirs.numpy()).max() <= 2e-5 * np.abs(theirs.numpy()).max()


@pytest.mark.parametrize("steps", [3, 10, 25])
def test_dpmpp_2m_ends_at_time_zero_by_a_second_order_step(steps: int) -> None:
    """The last row leaves the noise of t = 0 and uses the x0 before it, whatever the step count."""
    table = make_schedule(DPMPP_2M, config(), steps).table.astype(np.float64)
    _, _, p, q, a, b, c, d = table[-1]
    levels = DDPMScheduler(
        **{k: config()[k] for k in ("beta_start", "beta_end", "beta_schedule")}
    ).alphas_cumprod
    # With a true x0 and noise e, the result keeps sqrt(abar_0) of the one and sqrt(1 - abar_0) of the other.
    alpha, sigma = 1 / p, -q / p
    assert c != 0
    assert a * alpha + b + c == pytest.approx(float(levels[0]) ** 0.5, abs=1e-5)
    assert a * sigma == pytest.approx(float(1 - levels[0]) ** 0.5, abs=1e-5)
    assert d == 0


def test_first_row_reads_no_earlier_x0() -> None:
    assert all(made.table[0, 6] == 0 for made in make_schedules(config(), 25).values())


def test_start_is_the_schedule_stretched_to_1500_steps() -> None:
    start = make_schedule(DPMPP_2M, config(), 25).start
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1500) ** 2
    level = np.prod(1 - betas)
    assert start == pytest.approx([level**0.5, (1 - level) ** 0.5], rel=1e-4)
    assert start[0] < 0.03  # nearly pure noise


def test_start_is_diffusers_add_noise() -> None:
    random = np.random.default_rng(0)
    reference, noise = (random.standard_normal(SHAPE).astype(np.float32) for _ in range(2))
    made = make_schedule(DPMPP_2M, config(), 25).start_latents(reference, noise)
    theirs = make_start_scheduler(config()).add_noise(
        torch.from_numpy(reference), torch.from_numpy(noise), torch.tensor([START_TIMESTEPS - 1])
    )
    assert np.abs(made - theirs.numpy()).max() < 1e-5


def test_every_table_of_a_bundle_can_be_read() -> None:
    made = make_schedules(config(), 30)
    tensors = {key: array for schedule in made.values() for key, array in schedule.to_tensors().items()}
    read = schedules_from_tensors(tensors, "here")
    assert set(read) == {f"{name}/{steps}" for name in (DPMPP_2M, DDIM) for steps in (*STEP_COUNTS, 30)}
    assert isinstance(read["dpmpp_2m/30"], Schedule)


@pytest.mark.parametrize(
    ("changes", "sampler", "steps", "message"),
    [
        ({}, "euler", 25, r"sampler: expected one of dpmpp_2m, ddim, found 'euler'"),
        ({}, DPMPP_2M, 0, r"steps: expected 1 to 999, found 0"),
        ({}, DDIM, 1000, r"steps: expected 1 to 999, found 1000"),
        (
            {"prediction_type": "v_prediction"},
            DPMPP_2M,
            25,
            r"prediction_type: expected epsilon, found v_prediction",
        ),
        ({"thresholding": True}, DPMPP_2M, 25, r"thresholding: expected False, found True"),
        ({"rescale_betas_zero_snr": True}, DDIM, 25, r"rescale_betas_zero_snr: expected False, found True"),
    ],
)
def test_what_the_tables_do_not_cover_is_refused(
    changes: dict[str, object], sampler: str, steps: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_schedule(sampler, config(**changes), steps)
