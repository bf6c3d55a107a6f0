"""`build`: everything at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seas_export.cli import options, output


@output.command(
    "Run the same command again: what is finished is kept, training continues from its last save, "
    "and whole pairs are kept."
)
def build(
    product: Annotated[str | None, typer.Option("--product", help="The product: its folder's name.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder of products; by default ./data, else the sample product `bottle`."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", help="micro (default), or a Stable Diffusion 1.x folder in diffusers' format."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where everything goes; out/PRODUCT by default.")
    ] = None,
    config: options.Config = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of training and generation; 0 by default.")
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option("--pairs", help="Pairs of each defect, and normals, to generate; 8 by default."),
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Pairs made at a time; 4 by default.")] = None,
    layout: options.Layout = None,
    fit: options.Fit = None,
    shots: options.Shots = None,
    normals: options.Normals = None,
    defect: options.Defects = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Of the bundle: fp32 (default) or fp16.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Denoising steps; 25 by default.")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="By default 8; 2 for VisA, 5 for MVTec 3D AD.")
    ] = None,
    tau: Annotated[float | None, typer.Option("--tau", help="Mask threshold; 0.2 by default.")] = None,
    gate: Annotated[
        bool | None,
        typer.Option("--gate/--no-gate", help="Reject and retry pairs that cannot be right (default)."),
    ] = None,
    threads: options.Threads = None,
    set_: options.Sets = None,
    force: Annotated[bool, typer.Option("--force", help="Make everything again.")] = False,
    json: options.Json = False,
) -> None:
    """Photographs to a report in one command: train, export, check, generate. Current parts are kept."""
    from seas_export.build import build as run
    from seas_export.config import load_config
    from seas_export.layers import merge, parse_assignments

    given = options.given
    groups: dict[str, Any] = {
        "photographs": given(layout=layout, fit=fit, shots=shots, normals=normals, defects=defect or None),
        "export": given(precision=precision, steps=steps),
        "generate": given(pairs=pairs, batch=batch, guidance=guidance, tau=tau, gate=gate),
    }
    values = given(product=product, data=data, base=base, out=out, seed=seed, threads=threads)
    values.update({name: group for name, group in groups.items() if group})
    result = run(
        load_config(config, merge(parse_assignments(set_ or []), values)), force=force, say=output.say
    )
    output.report(result.to_dict(), result.to_text(), json)
