"""`base` and `import-seas`: bases and checkpoints that no training of ours made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output
from seas_runtime.units import gib


@output.command("Run the same command again: the base appears whole or not at all.")
def random(
    geometry: Annotated[str, typer.Argument(metavar="GEOMETRY", help="Whose: sd14 (Stable Diffusion 1.4).")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the base to make.")],
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            "--vocabulary",
            metavar="FILE",
            help="CLIP's bpe_simple_vocab_16e6.txt.gz; a small one by default.",
        ),
    ] = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write a base of a known geometry with random weights: as fast and as large as the real one."""
    from seas_train.bases.random_base.geometry import SHAPES, RandomGeometry
    from seas_train.settings import choice

    shape = SHAPES[choice(RandomGeometry, geometry, "GEOMETRY")]
    from seas_train.bases.random_base.write import write_random_base

    fingerprint = write_random_base(directory, shape, seed=seed, vocabulary=vocabulary, force=force)
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    text = f"{directory}: a random base of {geometry}'s geometry, {gib(size, 2)}, {fingerprint[:12]}"
    data = {
        "base": str(directory),
        "geometry": geometry,
        "fingerprint": fingerprint,
        "bytes": size,
        "seed": seed,
    }
    output.report(data, text, json)


@output.command("Run the same command again: the checkpoint appears whole or not at all.")
def untrained(
    base: Annotated[str, typer.Argument(metavar="BASE", help="micro, or a base's folder.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the checkpoint to make.")],
    size: Annotated[
        int | None, typer.Option("--size", help="Pixels of an image's side; by default the base's own.")
    ] = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A training option: mask_head.decoder=small."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write a checkpoint without training, with a random mask head: to export and time, not to use."""
    from seas_train.methods.seas.untrained import DEFECTS, UntrainedRequest, write_untrained
    from seas_train.settings import parse_assignments

    settings = parse_assignments(set_ or [])
    made = write_untrained(UntrainedRequest(base, directory, size, seed, force, settings))
    geometry = made.geometry
    words = f"{geometry.image_size} px, {len(DEFECTS)} defects"
    text = f"{directory}: an untrained checkpoint of {made.name}, {words}"
    data = {"checkpoint": str(directory), "base": made.name, "image": geometry.image_size, "seed": seed}
    output.report(data, text, json)


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
    keep_statistics: Annotated[
        bool,
        typer.Option(
            "--keep-statistics",
            help="Keep the statistics that training left in the mask head; by default they are measured anew "
            "on a few generated pairs.",
        ),
    ] = False,
    preset: options.Preset = None,
    anomaly_tokens: Annotated[
        int, typer.Option("--anomaly-tokens", help="Prompt tokens that each defect was trained with.")
    ] = 4,
    layout: options.Layout = None,
    fit: options.Fit = None,
    window: options.Window = None,
    masks: options.Masks = None,
    normals: options.Normals = None,
    allow_pickle: options.AllowPickle = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Turn what the authors' code (HUST-SLOW/SeaS) trained into a checkpoint; export follows from it."""
    from seas_export.pipeline.importing import ImportRequest
    from seas_export.pipeline.importing import import_seas as run

    result = run(
        ImportRequest(
            generation=generation,
            mask=mask,
            base=base,
            product=product,
            data=data,
            out=out,
            photographs=options.photographs(
                defect, layout=layout, fit=fit, window=window, masks=masks, normals=normals
            ),
            guidance=guidance,
            tau=tau,
            keep_statistics=keep_statistics,
            preset=preset,
            anomaly_tokens=anomaly_tokens,
            force=force,
            allow_pickle=allow_pickle,
        ),
        say=output.say,
    )
    output.report(result, result.to_text(), json)
