"""From the options of a command to a checked product."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.config.build import PhotographsConfig
from seas_export.config.layers import overlay

if TYPE_CHECKING:
    from seas_train.data import Product, ProductReport


def photographs_config(
    *,
    layout: str | None = None,
    fit: str | None = None,
    shots: int | None = None,
    normals: int | None = None,
    defects: Sequence[str] | None = None,
) -> PhotographsConfig:
    """The configuration that a command's options give; None leaves the default.

    Raises:
        UserError: an option is out of range.
    """
    values = {"layout": layout, "fit": fit, "shots": shots, "normals": normals, "defects": defects or None}
    given = {name: value for name, value in values.items() if value is not None}
    return overlay(PhotographsConfig(), given, "the command line")


def load_photographs(
    directory: Path,
    config: PhotographsConfig,
    *,
    size: int,
    latent_factor: int,
    defects_needed: bool = True,
) -> Product:
    """The checked product in `directory`; without `defects_needed` normals are enough.

    Raises:
        UserError: it cannot be used; the message is the whole report.
    """
    from seas_train.data import load_product

    return load_product(
        directory, size=size, latent_factor=latent_factor, defects_needed=defects_needed, **_options(config)
    )


def inspect_photographs(
    directory: Path, config: PhotographsConfig, *, size: int, latent_factor: int
) -> ProductReport:
    """The report on the product in `directory`, usable or not.

    Raises:
        UserError: there is no such folder.
    """
    from seas_train.data import inspect_product

    return inspect_product(directory, size=size, latent_factor=latent_factor, **_options(config))


def warning_lines(report: ProductReport) -> list[str]:
    """A product's warnings in short: one line for each kind, with its first case."""
    groups: dict[str, list[Any]] = {}
    for problem in report.warnings:
        groups.setdefault(problem.kind.value, []).append(problem)
    lines = []
    for kind, problems in groups.items():
        first = problems[0]
        where = f"{first.path.name}: " if first.path is not None else ""
        many = f" ({len(problems)})" if len(problems) > 1 else ""
        lines.append(f"warning: {kind}{many}: {where}{first.message}")
    return lines


def _options(config: PhotographsConfig) -> dict[str, Any]:
    """The configuration as seas_train.data takes it."""
    from seas_train.data import Fit, Layout

    return {
        "layout": None if config.layout is None else Layout(config.layout),
        "fit": Fit(config.fit),
        "shots": config.shots,
        "normals": config.normals,
        "defects": config.defects,
    }
