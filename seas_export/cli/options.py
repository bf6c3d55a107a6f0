"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON to stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is already there.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same result.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", help="Processor threads; by default the backend's own choice."),
]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")]
Layout = Annotated[
    str | None,
    typer.Option("--layout", help="mvtec, visa or mvtec3d; detected where not given.", show_default=False),
]
Fit = Annotated[
    str | None,
    typer.Option("--fit", help="How other aspect ratios are made square: crop (default), pad or stretch."),
]
Shots = Annotated[
    int | None,
    typer.Option("--shots", help="Training pairs of each defect; by default the first third."),
]
Normals = Annotated[int | None, typer.Option("--normals", help="Training normals at most; 60 by default.")]
Defects = Annotated[
    list[str] | None, typer.Option("--defect", help="Only this defect; repeat for more.", show_default=False)
]
Base = Annotated[
    str, typer.Option("--base", help="micro, or a folder of a Stable Diffusion 1.x in diffusers' format.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any option of the configuration; repeat for more."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.yaml", help="Options from a file; the command line wins."),
]


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; those left at None leave the layer below as it is."""
    return {name: value for name, value in options.items() if value is not None}
