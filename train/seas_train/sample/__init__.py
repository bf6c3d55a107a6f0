"""The sample product `bottle`, rendered by code from a seed: everything can be tried without a download."""

from seas_train.sample.photograph import DEFECTS, Rendered, render_bottle
from seas_train.sample.write import PRODUCT, write_sample

__all__ = ["DEFECTS", "PRODUCT", "Rendered", "render_bottle", "write_sample"]
