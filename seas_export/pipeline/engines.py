"""The engines that a build makes of its bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from seas_export.config.build import BuildConfig

if TYPE_CHECKING:
    from seas_engines.targets.options import EngineOptions


def engine_options(config: BuildConfig) -> EngineOptions | None:
    """Return the options of static engines for the batch that is generated; None where the target has none.

    Raises:
        UserError: the target is unknown, or has not this precision.
    """
    from seas_engines.targets.options import EngineOptions
    from seas_engines.targets.targets import require_target
    from seas_runtime.engines.record import BatchRange

    wanted, batch = config.export, config.generate.batch
    _, _, spec = require_target(wanted.target, wanted.precision)
    if not spec.builds_engine:
        return None
    return EngineOptions(
        target=wanted.target,
        devices=wanted.device,
        batch=BatchRange(batch, batch, batch),
        ship=wanted.target == "cuda" or (wanted.device is not None and wanted.target == "rtx"),
    )


def build_engines(bundle: Path, options: EngineOptions, say: Callable[[str], None]) -> None:
    """Build the engines; those that are current stay, as they are keyed by content themselves."""
    from seas_engines.building.compile import compile_bundle
    from seas_export.progress import build_progress

    with build_progress() as progress:
        compile_bundle(bundle, options, say, progress)
