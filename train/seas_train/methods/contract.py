"""The contract of a method of training. Nothing outside of a method's room asks which method it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seas_train.bases.base import Base
from seas_train.checkpoint import Checkpoint
from seas_train.data import PhotographsConfig, Product


class Train(Protocol):
    """Trains a base on a product and writes the checkpoint folder `out`."""

    def __call__(
        self,
        product: Product,
        base: Base,
        out: Path,
        run_dir: Path,
        config: Any,
        *,
        resume: bool = False,
        progress: bool = True,
    ) -> None:
        """See `train_product`."""


@dataclass(frozen=True)
class Method:
    """A way to train a base on a product, as `METHOD` of the module that the table names."""

    check_base: Callable[[Base], None]
    """Raises UserError where a base lacks what the method needs of it."""
    defaults: Callable[[Base, Product, str | None], Any]
    """Its configuration, a `Settings` dataclass, for a base and a product; the third argument says whose
    rules to follow, `paper` or `authors`, None for ours."""
    train: Train
    artifacts: Mapping[str, Callable[[Path], Any]]
    """Name of each artifact of its checkpoints -> reads it from its folder."""
    check_checkpoint: Callable[[Checkpoint], None]
    """Raises UserError where a loaded checkpoint's parts do not fit together."""
    photographs: Callable[[PhotographsConfig, str | None], PhotographsConfig] = lambda config, rules: config
    """How photographs are read by the rules that the second argument says, as `defaults`' third does."""
