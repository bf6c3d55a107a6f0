"""`evaluate`: how generated pictures compare with real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output


@output.command("Run it again: nothing was written.")
def evaluate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A data set that generate wrote.")],
    real: Annotated[Path, typer.Option("--real", help="The product's folder.")],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="Folder with the weights of the papers' networks (InceptionV3 of torch-fidelity, AlexNet of "
            "torchvision); without them their figures are not measured.",
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", help="Pixels that pictures are seen at.")] = 128,
    layout: options.Layout = None,
    fit: options.Fit = None,
    regions: options.Regions = None,
    window: options.Window = None,
    masks: options.Masks = None,
    shots: options.Shots = None,
    normals: options.Normals = None,
    defect: options.Defects = None,
    json: options.Json = False,
) -> None:
    """Evaluate generated pictures against real ones: distance, diversity, copies, masks, share accepted."""
    from seas_export.progress import pairs_progress
    from seas_export.proof.evaluate.evaluate import evaluate as evaluate_pictures

    photographs = options.photographs(
        defect,
        layout=layout,
        fit=fit,
        regions=regions,
        window=window,
        masks=masks,
        shots=shots,
        normals=normals,
    )
    with pairs_progress("evaluate") as progress:
        found = evaluate_pictures(dataset, real, photographs, size, weights, progress)
    sides = ("mask, generated / real", "grain, generated / real")
    heads = ("", "pictures", "accepted", *found.columns(), *sides)
    text = output.group(output.table(*heads, rows=list(found.rows())), "\n".join(found.missing))
    output.report(found.to_dict(), text, json)
