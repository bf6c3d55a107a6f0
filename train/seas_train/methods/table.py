"""The methods by name, and what goes through them: training, and loading a checkpoint."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_train.bases.base import Base
from seas_train.checkpoint import FIRST_METHOD, Checkpoint, read_checkpoint, read_description
from seas_train.data import Product
from seas_train.methods.contract import Method

METHODS = {
    "seas": "seas_train.methods.seas.training",
    "anogen": "seas_train.methods.anogen.training",
    "anomalydiffusion": "seas_train.methods.anomalydiffusion.training",
    "anomalyxfusion": "seas_train.methods.anomalyxfusion.training",
}
"""Name -> the module whose `METHOD` it is, imported when it is asked for."""


def find_method(name: str = FIRST_METHOD) -> Method:
    """Return a method by its name; UserError lists those there are."""
    if name not in METHODS:
        raise UserError(f"method: expected {' | '.join(METHODS)}, found {name!r}")
    method: Method = importlib.import_module(METHODS[name]).METHOD
    return method


def train_product(
    product: Product,
    base: Base,
    out: Path,
    run_dir: Path,
    config: Any,
    *,
    method: str = FIRST_METHOD,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Train a base on a product by a method.

    Args:
        product: what to train on.
        base: what to start from.
        out: the checkpoint folder to write.
        run_dir: where states, losses and previews go.
        config: the method's configuration.
        method: its name.
        resume: continue what a killed run left in `run_dir`.
        progress: show progress bars.

    Returns:
        `out`.

    Raises:
        UserError: there is no such method, the base or the run folder does not fit the method, the product or
            the configuration, or a folder cannot be written.
        CheckFailed: a loss is not finite.
    """
    found = find_method(method)
    found.check_base(base)
    found.train(product, base, out, run_dir, config, resume=resume, progress=progress)
    return out


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder.

    Raises:
        UserError: a file is missing or broken, or they do not fit together; names the file and what was
            expected.
    """
    meta = read_description(path)
    method = find_method(meta["method"])
    checkpoint = read_checkpoint(path, meta, method.artifacts)
    method.check_checkpoint(checkpoint)
    return checkpoint
