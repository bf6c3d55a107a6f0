"""What a bundle is, whether it is whole, and the masks and places that it draws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output, placement


@output.command("Run it again: nothing was written.")
def inspect(bundle: options.BundleFolder, json: options.Json = False) -> None:
    """Say in words what a bundle is: product, defects, sampler, provenance, licences."""
    from seas_export.bundles.describe import describe_bundle, in_words

    facts = describe_bundle(bundle)
    output.report(facts, in_words(facts), json)


@output.command("Run it again: nothing was written.")
def verify(
    bundle: options.BundleFolder,
    parity: Annotated[bool, typer.Option("--parity", help="Measure again against PyTorch.")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="The checkpoint that it was exported from; --parity needs it."),
    ] = None,
    pairs: Annotated[int, typer.Option("--pairs", help="Whole pairs that --parity compares.")] = 4,
    signature: Annotated[
        Path | None,
        typer.Option("--signature", metavar="KEY.pub", help="Check the signature with this public key too."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Check a bundle's schema and hashes; with --parity its figures, with --signature who made it."""
    from seas_export.bundles.describe import describe_bundle
    from seas_runtime.errors import CheckFailed, UserError
    from seas_runtime.generation.records import MAX_COUNT
    from seas_runtime.manifest.fields import check_integer, listed

    check_integer("--pairs", pairs, 1, MAX_COUNT)
    if parity and checkpoint is None:
        raise UserError(
            "--parity: expected the checkpoint to compare with, found none. Give it: --checkpoint DIR"
        )
    if checkpoint is not None and not parity:
        raise UserError("--checkpoint: is only used with --parity. Add --parity, or leave it out.")
    facts = describe_bundle(bundle, verify=True, require_signature=signature)
    engines = facts["engines"]
    data = {
        "bundle": str(bundle),
        "fingerprint": facts["fingerprint"],
        "files": facts["files"],
        "whole": True,
        "signed_by": None if signature is None else str(signature),
        "engines": engines,
        "clutter": facts["clutter"],
    }
    text = f"{bundle}: whole, {facts['files']} files match their hashes."
    if engines["found"]:
        text += f" {len(engines['found'])} engines match theirs."
    if signature is not None:
        text += f"\nSigned by the owner of {signature}: the manifest and the {facts['files']} files of it."
    trusts = [engine["trust"] or "neither" for engine in engines["found"]]
    if trusts:
        counts = [f"{trusts.count(trust)} {trust}" for trust in ("signed", "sealed", "neither")]
        text += f"\nEngines: {', '.join(counts)}."
    if "neither" in trusts:
        text += (
            " Those are no part of what was signed, and no work of this machine's key: with "
            "--require-signature they are not loaded."
        )
    if facts["clutter"]:
        text += f"\nLeft there by systems or file shares, and never read: {listed(facts['clutter'])}."
    if engines["damaged"]:
        output.report({**data, "whole": False}, text, json)
        raise CheckFailed("\n".join(engines["damaged"]))
    if checkpoint is None:
        output.report(data, text, json)
        return
    from seas_export.export import parity as measuring

    found = measuring.measure(bundle, checkpoint, seeds=range(pairs))
    output.report({**data, "parity": found.to_dict()}, output.group(text, found.to_text()), json)
    if not found.passed:
        raise CheckFailed(f"{bundle} does not agree with {checkpoint} within its bounds; see the report.")


@output.command("Run the same command again: the folder appears whole or not at all.")
def masks(
    bundle: options.BundleFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder of masks to make, for --placement-source.")],
    defect: Annotated[
        list[str] | None,
        typer.Option("--defect", help="A defect's name, or `all`, the default; repeat for more."),
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Masks of each defect.")] = 20,
    seed: options.Seed = 0,
    batch: Annotated[int, typer.Option("--batch", help="Masks made at a time.")] = 4,
    backend: options.Backend = "cpu",
    threads: options.Threads = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Generate masks with a bundle's mask model (anomalydiffusion), as large as in its photographs."""
    from seas_export.placing.generated import ALL, write_masks

    made = write_masks(
        bundle,
        out,
        defect or [ALL],
        count,
        seed,
        batch=batch,
        backend=backend,
        threads=threads,
        force=force,
        say=output.say,
    )
    rows: list[tuple[object, ...]] = [
        (item.defect, item.asked, item.accepted, item.first_try) for item in made.defects
    ]
    table = output.table("", "asked for", "accepted", "at the first try", rows=rows)
    output.report(made.to_dict(), output.group(table, str(out)), json)


@output.command("Run the same command again: the folder appears whole or not at all.")
def place(
    bundle: options.BundleFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder of masks and of a sheet to make.")],
    onto: placement.Onto = None,
    defect: Annotated[
        list[str] | None,
        typer.Option("--defect", help="A defect's name, or `all`, the default; repeat for more."),
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Placements of each defect.")] = 20,
    seed: options.Seed = 0,
    where: placement.Where = "auto",
    per_picture: placement.PerPicture = "1",
    per_background: placement.PerBackground = None,
    placement_source: placement.Source = "auto",
    box_sizes: placement.BoxSizes = None,
    legal: placement.Legal = None,
    forbidden: placement.Forbidden = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Draw where defects would go: masks as large as their photographs, and a sheet to look at."""
    from seas_export.placing.masks import ALL, SHEET, PlaceRequest
    from seas_export.placing.masks import place as place_masks

    asked = placement.placement_options(
        where, per_picture, placement_source, box_sizes, legal, forbidden, per_background
    )
    request = PlaceRequest(tuple(defect or [ALL]), count, seed, asked)
    made = place_masks(bundle, onto, out, request, force=force)
    table = output.table("", "masks", "shortest, px", "longest, px", rows=list(made.rows()))
    output.report(
        made.to_dict(), output.group(table, f"{out / SHEET}: on {made.photographs} photographs"), json
    )
