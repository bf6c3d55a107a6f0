"""`prove`: what pairs are worth to a line's own model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output


@output.command("Run the same command again: trainings that are done are kept.")
def prove(
    directory: Annotated[Path, typer.Argument(metavar="PRODUCT", help="A product's folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results, to make or to continue.")],
    named: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=DATASET",
            help="A data set to prove: one that generate wrote, or a folder in a product's layout; repeat.",
        ),
    ] = None,
    half: Annotated[
        str,
        typer.Option(
            "--half",
            help="The held-out photographs to test on: development for what is tried, test for what is "
            "reported once, or all.",
        ),
    ] = "development",
    task: Annotated[
        str,
        typer.Option(
            "--task",
            help="segment: find the pixels of defects. classify: name the defect of a photograph. images: "
            "tell photographs with a defect from normals.",
        ),
    ] = "segment",
    images: Annotated[
        bool,
        typer.Option(
            "--images",
            help="The same as --task images: nearest neighbours of few real normals, with and without "
            "generated ones.",
        ),
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", help="Trainings of each set.")] = 3,
    segmenter: Annotated[
        str,
        typer.Option(
            "--segmenter",
            help="unet, upernet (both of the extra), bisenet, draem, draem-narrow, or small.",
        ),
    ] = "unet",
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--from-scratch", help="Begin with ImageNet's weights, or without.")
    ] = True,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Of each training; 800 of a segmenter, 300 of a classifier by default."),
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Crops of a step; 8 by default.")] = None,
    crop: Annotated[int, typer.Option("--crop", help="Pixels of a crop's side.")] = 128,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            help="Learning rate at its height; 0.0003 of a segmenter, 0.001 of a classifier by default.",
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            "--share",
            help="Of the crops with a defect, those of generated or pasted pairs; 0.5 by default.",
        ),
    ] = None,
    light: Annotated[
        float | None,
        typer.Option(
            "--light",
            help="Where a line's light changes: by what factor pictures are made brighter or darker at most, "
            "as an exposure does; 1 by default, a little only.",
        ),
    ] = None,
    textures: Annotated[
        Path | None,
        typer.Option(
            "--textures",
            help="With draem: a folder of pictures that its own anomalies look like, such as DTD's; without "
            "one they are the product's photographs, shuffled.",
        ),
    ] = None,
    classifier: Annotated[
        str,
        typer.Option("--classifier", help="With classify: resnet-small, resnet34, or lite0 (of the extra)."),
    ] = "resnet-small",
    side: Annotated[
        int, typer.Option("--side", help="With classify: pixels of the square that a photograph becomes.")
    ] = 128,
    real_normals: Annotated[
        int, typer.Option("--real-normals", help="With images: real normals that are remembered.")
    ] = 5,
    copy_paste: Annotated[
        bool,
        typer.Option("--copy-paste/--no-copy-paste", help="Prove real defects pasted onto normals beside."),
    ] = True,
    pasted: Annotated[
        int | None,
        typer.Option("--pasted", help="Pasted pairs of each defect; by default as many as data sets have."),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone/--no-alone", help="Prove each data set without real pairs too.")
    ] = True,
    scale: Annotated[
        float | None,
        typer.Option("--scale", help="Shrink photographs by this for segmenters; chosen by default."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Trainings at a time; by default one a core.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    layout: options.Layout = None,
    fit: options.Fit = None,
    regions: options.Regions = None,
    window: options.Window = None,
    masks: options.Masks = None,
    shots: options.Shots = None,
    normals: options.Normals = None,
    defect: options.Defects = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate the time, and train nothing.")] = False,
    json: options.Json = False,
) -> None:
    """Train models with and without generated pairs, and test them on held-out real photographs."""
    from seas_export.progress import pairs_progress
    from seas_export.proof.prove import PICTURE, TABLE, Proof
    from seas_export.proof.prove import prove as prove_sets
    from seas_export.proof.request import ProofOptions, ProveRequest
    from seas_export.proof.results.summary import POOLED
    from seas_export.proof.results.table import heads, rows, sentences, worse
    from seas_export.proof.sets.named import parse_named
    from seas_runtime.errors import UserError
    from seas_train.settings import COMMAND_LINE, overlay

    trained = options.given(steps=steps, batch=batch, rate=rate, share=share, light=light)
    drawn = options.given(segmenter=segmenter, pretrained=pretrained, crop=crop, textures=textures)
    if images and task not in ("segment", "images"):
        raise UserError(f"--images: expected no other --task beside it, found {task!r}; leave one out")
    chosen = options.given(
        task="images" if images else task,
        few=real_normals,
        recipe={**trained, **drawn},
        naming={**trained, "classifier": classifier, "side": side},
        seeds=seeds,
        half=half,
        copy_paste=copy_paste,
        pasted=pasted,
        alone=alone,
        scale=scale,
    )
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
    request = ProveRequest(
        directory,
        parse_named(named or ()),
        out,
        overlay(ProofOptions(), chosen, COMMAND_LINE),
        photographs,
        device,
        workers,
    )
    with pairs_progress("prove") as progress:
        found = prove_sets(request, output.say, progress, dry_run=dry_run)
    if not isinstance(found, Proof):
        output.report(found.to_dict(), found.words(), json)
        return
    columns = found.columns
    said = sentences(found.summary, POOLED)
    said += [sentence for sentence in worse(found.summary) if sentence not in said]
    picture = f"; {out / PICTURE}" if found.drawn else ""
    text = output.group(
        output.table(
            *heads(columns),
            rows=list(rows(found.summary, POOLED, columns)),
            title="All defects, pooled, per cent",
        ),
        "\n".join([*said, *found.notes, f"{out / TABLE}: each defect's figures{picture}"]),
    )
    output.report(found.result, text, json)
