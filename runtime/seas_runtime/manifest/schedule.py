"""Schedules as data: every solver linear in (sample, last two x0 predictions, fresh noise) is a table.

x_0     = a_start * reference + b_start * noise
e       = U-Net(s_i * x_i, t_i, context)
x0_i    = p_i * x_i + q_i * e
x_{i+1} = a_i * x_i + b_i * x0_i + c_i * x0_{i-1} + d_i * noise_i

Two more columns, for methods that draw into a background, noise it as far as the step's latents are:

x_i     <- m * x_i + (1 - m) * (r_i * background + n_i * noise_i)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]

COLUMNS = ("timestep", "s", "p", "q", "a", "b", "c", "d")
BLEND_COLUMNS = ("r", "n")
"""sqrt(abar_t) and sqrt(1 - abar_t); tables of methods without a blend lack them."""
MAX_STEPS = 1000
_KEY = re.compile(r"([a-z0-9_]{1,64})/([1-9][0-9]{0,3})(/start)?\Z")


@dataclass(frozen=True, eq=False)
class Schedule:
    """One sampler at one number of steps.

    `table` is float32 [N, 8] with `COLUMNS`, or [N, 10] with `BLEND_COLUMNS` behind them; `start` is float32
    [2]: (a_start, b_start). Raises UserError for a wrong shape or dtype, a value that is not finite, or a
    first step that reads an x0 from before it (c_0 != 0).
    """

    sampler: str
    table: FloatArray  # [N, 8] or [N, 10]
    start: FloatArray  # [2]

    def __post_init__(self) -> None:
        where = f"schedule {self.sampler!r}"
        fits = self.table.ndim == 2 and self.table.shape[1] in (len(COLUMNS), len(COLUMNS + BLEND_COLUMNS))
        _check_array(where, self.table, "[steps, 8] or [steps, 10]", fits)
        _check_array(f"{where}, its start", self.start, "[2]", self.start.shape == (2,))
        if not 1 <= self.steps <= MAX_STEPS:
            raise UserError(f"{where}: expected 1 to {MAX_STEPS} steps, found {self.steps}")
        first = self.table[0, COLUMNS.index("c")]
        if first != 0:
            raise UserError(f"{where}: expected c = 0 in the first step, found {first}")

    @property
    def steps(self) -> int:
        """The number of steps, N."""
        return len(self.table)

    @property
    def key(self) -> str:
        """The table's name in a bundle: `dpmpp_2m/25`."""
        return schedule_key(self.sampler, self.steps)

    def column(self, name: str) -> FloatArray | None:
        """Return a column [N], None where the table lacks it."""
        place = (COLUMNS + BLEND_COLUMNS).index(name)
        return self.table[:, place] if place < self.table.shape[1] else None

    @property
    def noisy_steps(self) -> tuple[int, ...]:
        """The steps that add fresh noise, in their order."""
        return tuple(map(int, np.flatnonzero(self.table[:, COLUMNS.index("d")])))

    def last(self, count: int) -> Schedule:
        """Return the schedule's last `count` steps, the first of them of first order: b + c, and c = 0."""
        table = self.table[self.steps - count :].copy()
        b, c = COLUMNS.index("b"), COLUMNS.index("c")
        table[0, b] += table[0, c]
        table[0, c] = 0
        return Schedule(self.sampler, table, self.start)

    def start_latents(self, reference: FloatArray, noise: FloatArray) -> FloatArray:
        """Return x_0 [B, C, h, w] from unscaled reference latents and noise of that shape."""
        latents: FloatArray = self.start[0] * reference + self.start[1] * noise
        return latents

    def to_tensors(self) -> dict[str, FloatArray]:
        """Return the schedule as tensors of `schedule.safetensors`."""
        return {self.key: self.table, f"{self.key}/start": self.start}


def schedule_key(sampler: str, steps: int) -> str:
    """Return the name of a schedule in a bundle."""
    return f"{sampler}/{steps}"


def schedules_from_tensors(tensors: Mapping[str, Array], where: str) -> dict[str, Schedule]:
    """Read the tensors of `schedule.safetensors`; return schedules by key, or raise UserError."""
    schedules: dict[str, Schedule] = {}
    for key in sorted(tensors):
        match = _KEY.match(key)
        if match is None:
            raise UserError(f"{where}: expected keys like 'dpmpp_2m/25', found {key[:80]!r}")
        if match[3]:
            if key.removesuffix("/start") not in tensors:
                raise UserError(f"{where}: {key!r} has no table of its own")
            continue
        if f"{key}/start" not in tensors:
            raise UserError(f"{where}: the start of {key!r} is missing: expected the key '{key}/start'")
        try:
            schedule = Schedule(match[1], tensors[key], tensors[f"{key}/start"])
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if schedule.key != key:
            raise UserError(f"{where}: {key!r}: expected {match[2]} steps, found {schedule.steps}")
        schedules[key] = schedule
    return schedules


def _check_array(where: str, array: Array, shape: str, shape_fits: bool) -> None:
    if array.dtype != np.float32 or not shape_fits:
        raise UserError(f"{where}: expected float32 {shape}, found {array.dtype} {list(array.shape)}")
    if not np.isfinite(array).all():
        raise UserError(f"{where}: expected finite values, found NaN or infinity")
