"""Bundles: exported, told in words, checked, and the masks and places that they draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seas_export.cli import options, output, placement

if TYPE_CHECKING:
    from seas_export.config.build import ExportConfig


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


@output.command("Run the same command again: the bundle appears whole or not at all.")
def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to make.")],
    precision: Annotated[str, typer.Option("--precision", help="fp32, fp16 or int8.")] = "fp32",
    target: Annotated[
        str, typer.Option("--target", help="What it is for: cpu, openvino, cuda, rtx, tensorrt.")
    ] = "cpu",
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Denoising steps of the schedule; by default the method's, 25 of seas."),
    ] = None,
    layout: Annotated[
        str,
        typer.Option("--layout", help="bundle, or optimum: the plain parts, for Hugging Face's pipelines."),
    ] = "bundle",
    own_prompts: Annotated[
        bool,
        typer.Option("--own-prompts", help="Put the tokenizer in: `generate --prompt` then works."),
    ] = False,
    guidance_rescale: Annotated[
        float | None,
        typer.Option(
            "--guidance-rescale",
            help="Let steps rescale guidance, 0 to 1 by default; without it bundles cannot.",
        ),
    ] = None,
    add_noise_step: Annotated[
        int | None,
        typer.Option(
            "--add-noise-step", help="Steps that the noise schedule is stretched to for the start; 1500."
        ),
    ] = None,
    sampler: Annotated[
        list[str] | None,
        typer.Option(
            "--sampler",
            help="One more: unipc_1, dpmpp_2m_sde, dpmpp_2m_karras, dpmpp_2m_sde_karras, lcm; repeat.",
        ),
    ] = None,
    backgrounds: Annotated[
        int | None,
        typer.Option(
            "--backgrounds",
            help="Photographs of normals in the bundle to draw defects into; 16, at most 200 MB together.",
        ),
    ] = None,
    parity: Annotated[
        bool, typer.Option("--parity/--no-parity", help="Check every graph against PyTorch.")
    ] = True,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Turn a checkpoint into a bundle of ONNX graphs and tables, and check it against PyTorch."""
    from seas_export.config.build import ExportConfig, ExportLayout
    from seas_train.settings import COMMAND_LINE, choice, overlay

    options_given = {"precision": precision, "target": target, "own_prompts": own_prompts}
    options_given |= options.given(
        steps=steps,
        guidance_rescale=guidance_rescale,
        add_noise_step=add_noise_step,
        samplers=tuple(sampler) if sampler else None,
        backgrounds=backgrounds,
    )
    config = overlay(ExportConfig(), options_given, COMMAND_LINE, "export")
    if choice(ExportLayout, layout, "--layout") is ExportLayout.OPTIMUM:
        _export_optimum(checkpoint, out, config, force, json)
        return
    from seas_export.export import export_bundle

    result = export_bundle(
        checkpoint,
        out,
        precision=config.precision,
        target=config.target,
        steps=config.steps,
        extras=config.extras,
        parity=parity,
        force=force,
        progress=output.say,
    )
    output.report(result.to_dict(), result.to_text(), json)


def _export_optimum(checkpoint: Path, out: Path, config: ExportConfig, force: bool, json: bool) -> None:
    """Write the plain parts; the target is whatever runs ONNX."""
    from seas_export.config.build import ExportConfig
    from seas_export.export.optimum import export_optimum
    from seas_runtime.errors import UserError

    if config.target != "cpu":
        raise UserError(
            f"--target {config.target}: --layout optimum writes plain graphs, for any target. Leave it out."
        )
    if config.extras != ExportConfig().extras:
        raise UserError(
            "--own-prompts, --guidance-rescale, --add-noise-step, --sampler, --backgrounds: are a bundle's. "
            "Leave them out with --layout optimum."
        )
    export_optimum(checkpoint, out, precision=config.precision, force=force, progress=output.say)
    data = {"folder": str(out), "layout": "optimum", "precision": config.precision}
    output.report(data, f"{out}: {config.precision} parts for optimum's ORTStableDiffusionPipeline", json)
