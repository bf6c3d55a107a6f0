from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, PNDMScheduler

from seas_export.graphs.schedules import (
    DDIM,
    DPMPP_2M,
    DPMPP_2M_KARRAS,
    DPMPP_2M_SDE,
    DPMPP_2M_SDE_KARRAS,
    LCM_COUNTS,
    NOISY,
    SAMPLERS,
    STEP_COUNTS,
    UNIPC_1,
    make_schedule,
    make_scheduler,
    make_schedules,
    make_start_scheduler,
)
from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import Schedule, schedules_from_tensors
from seas_runtime.methods.seas import START_TIMESTEPS
from seas_train.diffusion.consistency import LCM, boundary_scalings, student_timesteps
from seas_train.diffusion.solver import SolverRules, base_spacing
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


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", [DPMPP_2M, DDIM])
@pytest.mark.parametrize("steps", [*STEP_COUNTS, 1, 2, 7, 40])
def test_table_is_diffusers_scheduler_step_by_step(sampler: str, steps: int, prediction: str) -> None:
    settings = config(prediction_type=prediction)
    schedule = make_schedule(sampler, settings, steps)
    scheduler = make_scheduler(sampler, settings, steps)
    random = np.random.default_rng(steps)
    latents = random.standard_normal(SHAPE).astype(np.float32)
    theirs, previous = torch.from_numpy(latents), np.zeros(SHAPE, np.float32)
    assert len(scheduler.timesteps) == schedule.steps == steps
    for index, timestep in enumerate(scheduler.timesteps):
        predicted = random.standard_normal(SHAPE).astype(np.float32)
        assert schedule.table[index, 0] == timestep
        assert np.array_equal(
            scaled_input(schedule, index, latents),
            scheduler.scale_model_input(torch.from_numpy(latents), timestep),
        )
        latents, previous = apply_step(schedule, index, latents, previous, predicted)
        theirs = scheduler.step(torch.from_numpy(predicted), timestep, theirs).prev_sample
        assert np.abs(latents - theirs.numpy()).max() <= 2e-5 * np.abs(theirs.numpy()).max()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", [UNIPC_1, DPMPP_2M_SDE, DPMPP_2M_KARRAS, DPMPP_2M_SDE_KARRAS, LCM])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 15, 25, 50])
def test_other_tables_are_diffusers_schedulers_too(sampler: str, steps: int, prediction: str) -> None:
    """With the noise that each draws itself, from a generator of the same seed."""
    settings = config(prediction_type=prediction)
    schedule = make_schedule(sampler, settings, steps)
    scheduler = make_scheduler(sampler, settings, steps)
    latents = _guess(1000)
    theirs, previous = torch.from_numpy(latents), np.zeros(SHAPE, np.float32)
    assert schedule.table[:, 0].tolist() == scheduler.timesteps.tolist()
    for index, timestep in enumerate(scheduler.timesteps):
        noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(index))
        draws = {"generator": torch.Generator().manual_seed(index)} if sampler in NOISY else {}
        predicted = _guess(index)
        latents, previous = apply_step(schedule, index, latents, previous, predicted, noise.numpy())
        theirs = scheduler.step(torch.from_numpy(predicted), timestep, theirs, **draws).prev_sample
        assert np.abs(latents - theirs.numpy()).max() <= 5e-5 * np.abs(theirs.numpy()).max()
    assert bool(schedule.noisy_steps) == (sampler in NOISY and steps > 1) or sampler == DPMPP_2M_SDE


def test_lcm_is_the_papers() -> None:
    """1 to 8 steps of the teacher's 50, noised anew but for the last, whose x0 is the result."""
    made = make_schedules(config(), 4, sampler=LCM, blend=True)
    assert set(made) == {f"lcm/{steps}" for steps in LCM_COUNTS}
    assert student_timesteps(config(), 4) == made["lcm/4"].table[:, 0].tolist() == [999, 759, 499, 259]
    assert made["lcm/4"].noisy_steps == (0, 1, 2)
    *_, a, b, c, d, r, n = made["lcm/4"].table[-1].tolist()
    assert (a, b, c, d) == pytest.approx((0, 1, 0, 0), abs=1e-6)
    levels = DDPMScheduler.from_config(config()).alphas_cumprod
    assert (r, n) == pytest.approx((float(levels[259]) ** 0.5, float(1 - levels[259]) ** 0.5), abs=1e-6)
    skip, out = boundary_scalings(torch.tensor([0, 259]))
    assert (skip.flatten().tolist()[0], out.flatten().tolist()[0]) == (1, 0)
    theirs = make_scheduler(LCM, config(), 4).get_scalings_for_boundary_condition_discrete(259)
    assert (float(skip[1]), float(out[1])) == pytest.approx(tuple(map(float, theirs)))


def test_lcm_has_no_more_steps_than_its_teacher_skips_over() -> None:
    with pytest.raises(UserError, match=r"steps: expected 1 to 50, found 51"):
        make_schedule(LCM, config(), 51)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_table_begun_late_is_of_first_order_there(sampler: str) -> None:
    """What a strength below 1 leaves: x0 counts as both of the last two, so that nothing is lost."""
    schedule = make_schedule(sampler, config(), 8)
    late = schedule.last(3)
    assert late.table[0, 6] == 0
    assert late.table[0, 5] == pytest.approx(schedule.table[5, 5] + schedule.table[5, 6], abs=1e-6)
    assert np.array_equal(late.table[1:], schedule.table[6:])


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
        ({}, "euler", 25, r"sampler: expected one of dpmpp_2m, ddim, .*, lcm, found 'euler'"),
        ({}, DPMPP_2M, 0, r"steps: expected 1 to 999, found 0"),
        ({}, DDIM, 1000, r"steps: expected 1 to 999, found 1000"),
        (
            {"prediction_type": "sample"},
            DPMPP_2M,
            25,
            r"prediction_type: expected epsilon or v_prediction, found sample",
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


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("steps", [3, 10, 14, 15, 25])
def test_tables_follow_the_scheduler_files_spacing(spacing: str, offset: int, steps: int) -> None:
    """Against the installed diffusers, told nothing but the file and the end at t = 0."""
    said = config(timestep_spacing=spacing, steps_offset=offset)
    rules = SolverRules(short_first_order=True)  # its default
    schedule = make_schedule(DPMPP_2M, said, steps, rules=rules)
    theirs = DPMSolverMultistepScheduler.from_config(said, final_sigmas_type="sigma_min")
    theirs.set_timesteps(steps)
    assert schedule.table[:, 0].tolist() == theirs.timesteps.tolist()
    assert apart(run_table(schedule), run_diffusers(theirs)) <= 1e-5


@pytest.mark.parametrize("steps", [3, 10, 14])
def test_short_tables_end_as_they_are_told_to(steps: int) -> None:
    """diffusers ends fewer than 15 steps by a first-order one; without that, by a second-order one."""
    first, second = (
        make_schedule(DPMPP_2M, config(), steps, rules=SolverRules(short_first_order=low))
        for low in (True, False)
    )
    assert np.array_equal(first.table[:-1], second.table[:-1])
    assert first.table[-1, 6] == 0 != second.table[-1, 6]
    theirs = DPMSolverMultistepScheduler.from_config(
        config(), final_sigmas_type="sigma_min", lower_order_final=False
    )
    theirs.set_timesteps(steps)
    expected = run_diffusers(theirs)
    assert apart(run_table(second), expected) <= 1e-5
    assert apart(run_table(first), expected) > 1e-3


def test_fifteen_steps_end_alike() -> None:
    made = [
        make_schedule(DPMPP_2M, config(), 15, rules=SolverRules(short_first_order=low)).table
        for low in (True, False)
    ]
    assert np.array_equal(*made)


def test_a_spacing_that_the_file_leaves_out_is_the_solvers_own() -> None:
    """PNDM's default is leading, and diffusers writes defaults out with the rest."""
    loaded = PNDMScheduler.from_config(config())
    assert loaded.config["timestep_spacing"] == "leading"
    assert base_spacing(loaded.config) == base_spacing(config()) == "linspace"
    assert base_spacing(PNDMScheduler.from_config(config(timestep_spacing="leading")).config) == "leading"
    assert make_schedule(DPMPP_2M, loaded.config, 25).table[0, 0] == 999


def test_a_checkpoint_that_says_nothing_was_made_for_linspace() -> None:
    assert SolverRules.of({"guidance": 8.0, "tau": 0.2}) == SolverRules("linspace", False)
    said = {"timestep_spacing": "leading", "short_schedules": "first_order"}
    assert SolverRules.of(said) == SolverRules("leading", True)


def test_ddim_keeps_its_even_steps() -> None:
    made = [
        make_schedule(DDIM, config(timestep_spacing=spacing), 10).table for spacing in ("linspace", "leading")
    ]
    assert np.array_equal(*made)


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, as a share of the range."""
    return float(np.abs(found - expected).max() / np.ptp(expected))


def _guess(index: int) -> np.ndarray:
    return np.random.default_rng(index).standard_normal(SHAPE).astype(np.float32)


def run_table(schedule: Schedule) -> np.ndarray:
    """The latents that a table takes a fixed start and fixed predictions to."""
    latents, previous = _guess(1000), np.zeros(SHAPE, np.float32)
    for index in range(schedule.steps):
        latents, previous = apply_step(schedule, index, latents, previous, _guess(index))
    return latents


def run_diffusers(scheduler: DPMSolverMultistepScheduler) -> np.ndarray:
    latents = torch.from_numpy(_guess(1000))
    for index, timestep in enumerate(scheduler.timesteps):
        latents = scheduler.step(torch.from_numpy(_guess(index)), timestep, latents).prev_sample
    result: np.ndarray = latents.numpy()
    return result
