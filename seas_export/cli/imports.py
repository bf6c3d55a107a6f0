"""`import-seas`: what the authors' own code trained becomes a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output


@output.command("Run the same command again: the checkpoint appears whole or not at all.")
def import_seas(
    generation: Annotated[
        Path, typer.Option("--generation", help="The authors' generation-checkpoint folder.")
    ],
    mask: Annotated[Path, typer.Option("--mask", help="The authors' mask head: mask-checkpoint/rmp.")],
    base: Annotated[
        str, typer.Option("--base", help=f"What it was trained from; its VAE is used. {options.BASES}")
    ],
    product: Annotated[str, typer.Option("--product", help="The product: its folder's name.")],
    out: Annotated[Path, typer.Option("--out", help="Checkpoint folder to make.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder that the product's photographs lie in, ./data by default: its normals become the "
            "references, its defects' folders name the defects.",
        ),
    ] = None,
    defect: Annotated[
        list[str] | None,
        typer.Option(
            "--defect",
            help="Name of a defect's folder at training; repeat for all of them, in any order.",
            show_default=False,
        ),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="By default 8; 2 for VisA, 5 for MVTec 3D AD.")
    ] = None,
    tau: Annotated[float | None, typer.Option("--tau", help="Mask threshold; 0.2 by default.")] = None,
    layout: options.Layout = None,
    fit: options.Fit = None,
    normals: options.Normals = None,
    allow_pickle: options.AllowPickle = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Turn what the authors' code (HUST-SLOW/SeaS) trained into a checkpoint; export follows from it."""
    from seas_export.importing import ImportRequest
    from seas_export.importing import import_seas as run
    from seas_export.photographs import photographs_config

    result = run(
        ImportRequest(
            generation=generation,
            mask=mask,
            base=base,
            product=product,
            data=data,
            out=out,
            photographs=photographs_config(layout=layout, fit=fit, normals=normals, defects=defect),
            guidance=guidance,
            tau=tau,
            force=force,
            allow_pickle=allow_pickle,
        ),
        say=output.say,
    )
    output.report(result.to_dict(), result.to_text(), json)
