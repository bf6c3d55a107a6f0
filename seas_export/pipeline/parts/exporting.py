"""A build's bundles, checked against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from seas_export.config.build import BuildConfig, ExportConfig
from seas_export.pipeline.digests import bundle_digest, clear_damaged
from seas_export.pipeline.ledger import Before, Ledger
from seas_export.pipeline.parts.model import Model
from seas_export.verdict.files import bundle_digest_without_verdicts
from seas_export.version import version


def export(ledger: Ledger, config: BuildConfig, model: Model, say: Callable[[str], None]) -> None:
    """Export a model's checkpoint: a part of the build."""
    from seas_export.export import export_bundle
    from seas_runtime.bundle.kind import BUNDLE

    wanted = _by_checkpoint(config.export, model.checkpoint)

    def make(before: Before) -> None:
        if before is not Before.NOTHING:
            clear_damaged(model.bundle, BUNDLE)
        export_bundle(
            model.checkpoint,
            model.bundle,
            precision=wanted.precision,
            target=wanted.target,
            steps=wanted.steps,
            extras=wanted.extras,
            parity=True,
            force=True,
            progress=say,
        )

    def digest(bundle: Path) -> str:
        bundle_digest(bundle)  # its files are as its manifest says
        return bundle_digest_without_verdicts(bundle)

    inputs = {
        "version": version(),
        "checkpoint": ledger.entries[model.trained].output,
        "config": asdict(wanted),
    }
    ledger.part(model.part("export"), inputs, model.bundle, make, digest)


def _by_checkpoint(config: ExportConfig, checkpoint: Path) -> ExportConfig:
    """The options with the number of steps: a student's are its own, others are asked for or the method's."""
    from seas_export.methods.table import find_method
    from seas_train.checkpoint import read_description

    described = read_description(checkpoint)
    own = described["generation"].get("steps")
    if own is not None:
        return replace(config, steps=int(own))
    return replace(config, steps=config.steps or find_method(described["method"]).steps)
