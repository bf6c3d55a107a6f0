"""`micro`: the small Stable Diffusion 1.x base that ships with seas-export, and the code that makes it.

Importing this package loads no torch; `python -m seas_train.bases.micro` trains.
"""

from pathlib import Path

MICRO_PATH: Path = Path(__file__).parent / "weights"
"""The shipped base, in diffusers' folder format."""

__all__ = ["MICRO_PATH"]
