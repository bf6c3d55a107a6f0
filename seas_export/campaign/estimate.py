"""What a campaign costs, said before it begins: pairs, hours, kWh."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from seas_export.campaign.plan import Plan
from seas_runtime.errors import UserError

WATTS = {
    "Jetson Orin Nano 8 GB": (25, "MAXN Super mode; NVIDIA Jetson Orin Nano Super datasheet"),
    "Jetson AGX Orin 32 GB": (40, "NVIDIA Jetson AGX Orin Series Technical Brief v1.2"),
    "Jetson AGX Orin 64 GB": (60, "NVIDIA Jetson AGX Orin Series Technical Brief v1.2"),
    "L4": (72, "NVIDIA L4 datasheet"),
    "GeForce RTX 4090": (450, "NVIDIA Ada GPU architecture whitepaper"),
    "H200": (700, "SXM; NVIDIA H200 datasheet"),
}
"""The most that a board takes, and who says so: published, not measured; without the machine around it."""


@dataclass(frozen=True)
class Estimate:
    """A campaign's cost; None where it would take a figure that nobody has measured or given."""

    pairs: int
    left: int
    """Of them, those that are not there yet."""
    seconds_per_pair: float | None
    source: str
    """Where that figure is from."""
    workers: int
    hours: float | None
    kwh: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    def in_words(self) -> str:
        """Return a line."""
        words = f"{self.pairs} pairs"
        if self.left != self.pairs:
            words += f", {self.left} of them missing yet"
        if self.hours is None:
            return (
                f"{words}; hours: not measured here (give seconds_per_pair, which `seas-export bench` prints)"
            )
        words += (
            f"; {self.hours:.2f} hours at {self.seconds_per_pair:.3g} s a pair ({self.source}) on "
            f"{self.workers} device{'s' if self.workers > 1 else ''}"
        )
        return (
            f"{words}; kWh: not known (give board or watts)"
            if self.kwh is None
            else f"{words}; {self.kwh:.2f} kWh"
        )


def estimate(plan: Plan, pairs: int, left: int, workers: int, measured: float | None = None) -> Estimate:
    """Return what `pairs`, of which `left` are missing, cost on so many workers.

    measured: seconds of a pair in what is there already, of one worker. UserError for a board that the table
    has not.
    """
    watts = plan.watts if plan.board is None else _watts(plan.board)
    seconds = plan.seconds_per_pair or measured
    source = "of the plan" if plan.seconds_per_pair else "measured by the pairs that are there"
    hours = None if seconds is None else left * seconds / workers / 3600
    kwh = None if hours is None or watts is None else hours * workers * watts / 1000
    return Estimate(pairs, left, seconds, source, workers, hours, kwh)


def _watts(board: str) -> float:
    if board not in WATTS:
        raise UserError(f"board: expected one of {', '.join(WATTS)}, found {board!r}; or give watts")
    return float(WATTS[board][0])
