"""Stable Diffusion 1.x from a single file, with everything that the file lacks from this package."""

from seas_train.bases.single_file.load import CONFIGS, load_single_file

__all__ = ["CONFIGS", "load_single_file"]
