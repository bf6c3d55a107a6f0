"""`sample`, `data import` and `data inspect`: where photographs come from, and whether they can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output


@output.command("Run the same command again: the folder appears whole or not at all.")
def sample(
    out: Annotated[Path, typer.Option("--out", help="Folder of products to write `bottle` into.")] = Path(
        "data"
    ),
    seed: options.Seed = 0,
    size: Annotated[int, typer.Option("--size", help="Height and width in pixels.")] = 256,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write the sample product, `bottle`, as photographs and masks in MVTec AD layout."""
    from seas_train.sample import DEFECTS, write_sample

    folder = write_sample(out, seed, size, overwrite=force)
    counts = {
        part: _count(folder / part)
        for part in ("train/good", "test/good", *(f"test/{name}" for name in DEFECTS))
    }
    text = f"{folder}: " + ", ".join(f"{count} {part}" for part, count in counts.items())
    output.report({"folder": str(folder), "seed": seed, "size": size, "images": counts}, text, json)


@output.command("Run it again: nothing was written.")
def inspect(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A product's folder.")],
    size: Annotated[int, typer.Option("--size", help="Side of the training images in pixels.")] = 256,
    latent_factor: Annotated[
        int,
        typer.Option("--latent-factor", help="Image pixels per latent pixel; 8 in Stable Diffusion 1.x."),
    ] = 8,
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
    """Check a product whole and list everything that is wrong with it; exit code 1 if it cannot be used."""
    from seas_runtime.errors import CheckFailed
    from seas_train.data import inspect_product

    config = options.photographs(
        defect,
        layout=layout,
        fit=fit,
        regions=regions,
        window=window,
        masks=masks,
        shots=shots,
        normals=normals,
    )
    found = inspect_product(directory, config, size=size, latent_factor=latent_factor)
    output.report(found.to_dict(), found.to_text(), json)
    if not found.usable:
        raise CheckFailed(f"{directory} cannot be trained on as it is; see the errors in the report.")


@output.command("Run the same command again: the folder appears whole or not at all.")
def import_labels(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder of photographs and labels.")],
    product: Annotated[str, typer.Option("--product", help="What the product is called.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of products to write it into.")],
    kind: Annotated[
        str,
        typer.Option("--from", help="auto, labelme, coco, yolo, cvat, voc or folders."),
    ] = "auto",
    renamed: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="Rename a class, merge it into another, make it good, or leave it out (OLD=); repeat.",
        ),
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option("--background", help="A class or R,G,B of coloured masks that is background; repeat."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="A class or R,G,B of coloured masks that is not used; repeat."),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy photographs instead of linking them to those of SRC.")
    ] = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Lay a product out as MVTec AD does, from what a labelling tool or a factory wrote."""
    from seas_train.data.importing import ClassColours, Source, import_product
    from seas_train.settings import choice

    done = import_product(
        source,
        product,
        out,
        kind=choice(Source, kind, "--from"),
        renamed=renamed or (),
        colours=ClassColours(tuple(background or ()), tuple(ignore or ())),
        copy=copy,
        force=force,
    )
    output.report(done.to_dict(), done.to_text(), json)


@output.command("Run the same command again: the file appears whole or not at all.")
def preset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="mvtec, visa or mvtec3d.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; by default it is printed.")
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Print or write the configuration for a published data set, to copy and change."""
    from seas_export.config.presets import PRESETS, read_preset, write_preset

    text = read_preset(name)
    if out is not None:
        write_preset(name, out, force)
    data = {"name": name, "for": PRESETS[name], "file": None if out is None else str(out), "text": text}
    output.report(data, text.rstrip() if out is None else f"{out}: for {PRESETS[name]}", json)


def _count(folder: Path) -> int:
    """Files directly in a folder."""
    return sum(1 for entry in folder.iterdir() if entry.is_file())
