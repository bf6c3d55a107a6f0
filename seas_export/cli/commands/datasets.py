"""`generate` and `convert`: from a bundle to image/mask pairs, and to what other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output, placement, spread

UNSEEN = "unseen"
"""What pairs of a prompt of one's own are called by default: the paper's unseen anomalies."""


@output.command("Run the same command again: whole pairs are kept and generation continues after them.")
def generate(
    bundle: options.BundleFolder,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            help="Data set folder to make or to continue, or a URL (s3, gs, az, sftp, file) for shards.",
        ),
    ],
    defect: Annotated[
        list[str] | None,
        typer.Option(
            "--defect",
            help="A defect's name, `good` for normals, or `all`; repeat for more. With --prompt, what its "
            "pairs are called: `unseen` by default.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Pairs of each.")] = 8,
    seed: options.Seed = 0,
    batch: Annotated[
        int,
        typer.Option("--batch", help="Pairs made at a time, for speed; a data set keeps its own."),
    ] = 4,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", help="Strength of the prompt; by default the bundle's."),
    ] = None,
    tau: Annotated[
        float | None, typer.Option("--tau", help="Mask threshold; by default the bundle's.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="One of the bundle's schedules.")] = None,
    sampler: Annotated[str | None, typer.Option("--sampler", help="One of the bundle's samplers.")] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            help="A prompt of your own, such as 'a <ob> with <hole_1> <crack_1>'; inspect lists the tokens.",
        ),
    ] = None,
    negative_prompt: Annotated[
        str | None, typer.Option("--negative-prompt", help="What guidance leads away from.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="Encode the prompts with this checkpoint, the one that was exported; needs PyTorch.",
        ),
    ] = None,
    guidance_rescale: Annotated[
        float | None,
        typer.Option(
            "--guidance-rescale", help="0 to 1, against overexposure; for bundles exported with it."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", help="reference (a noised photograph, the default) or noise alone."),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength", help="Of placed pairs: the part of the steps that are run, from the photograph on."
        ),
    ] = None,
    mask_steps: Annotated[
        int | None,
        typer.Option(
            "--mask-steps", help="1 to 3: how many of the last steps give a mask; by default the bundle's."
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="photographs, to draw defects into, or noise, for whole pictures; auto takes photographs "
            "where there are some.",
        ),
    ] = "auto",
    onto: placement.Onto = None,
    where: placement.Where = "auto",
    per_picture: placement.PerPicture = "1",
    per_background: placement.PerBackground = None,
    placement_source: placement.Source = "auto",
    box_sizes: placement.BoxSizes = None,
    legal: placement.Legal = None,
    forbidden: placement.Forbidden = None,
    blend: Annotated[
        str, typer.Option("--blend", help="The way back into the photograph: feather, or poisson (OpenCV).")
    ] = "feather",
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask", help="refined (what the mask head finds, the default) or placed, as asked for."
        ),
    ] = None,
    mask_from: placement.MaskFrom = None,
    reweight: Annotated[
        str | None,
        typer.Option(
            "--reweight", help="Of anomalydiffusion: attention re-weighted as by its authors, paper, or off."
        ),
    ] = None,
    caption: Annotated[
        str | None,
        typer.Option("--caption", help="Of anomalyxfusion: a sentence to generate the defect by."),
    ] = None,
    drawn: Annotated[
        str | None,
        typer.Option(
            "--masks", help="generated: with the bundle's mask model, into OUT-masks, as --placement-source."
        ),
    ] = None,
    oversample: Annotated[
        float,
        typer.Option("--oversample", help="So many times the pairs are made, and the best scores kept."),
    ] = 1.0,
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", help="Reject and retry pairs that cannot be right.")
    ] = True,
    backend: options.Backend = "cpu",
    threads: options.Threads = None,
    devices: spread.Devices = None,
    ray: spread.Ray = None,
    mixed_devices: spread.MixedDevices = False,
    shards: spread.Shards = "tar",
    shard_pairs: spread.ShardPairs = 256,
    part: spread.Part = "1/1",
    require_signature: options.RequireSignature = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Make pairs again whose files were removed by hand.")
    ] = False,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="Convert the pairs too, into a folder beside --out: coco or another of `convert --to`. "
            "mvtec is the data set's own layout.",
        ),
    ] = "mvtec",
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Generate labelled pairs from a bundle into a data set in MVTec AD layout, without PyTorch."""
    from seas_export.placing.choice import choose_placing, in_words
    from seas_export.placing.generated import masks_beside
    from seas_export.progress import pairs_progress
    from seas_export.verdict.files import unusable
    from seas_runtime import DatasetRequest, Placing, Sampling, convert_dataset, write_dataset
    from seas_runtime.dataset.formats.convert import check_beside
    from seas_runtime.dataset.shards.writing import write_shards
    from seas_runtime.errors import UserError
    from seas_runtime.files import expanded
    from seas_runtime.methods.table import find_method
    from seas_runtime.spreading.opening import open_source

    if not defect and prompt is None:
        raise UserError("--defect: expected the name of a defect, found none. Give it: --defect all")
    asked = options.given(
        prompt=prompt,
        negative_prompt=negative_prompt,
        guidance_rescale=guidance_rescale,
        start=start,
        strength=strength,
        mask_steps=mask_steps,
        reweight=reweight,
        caption=caption,
    )
    if checkpoint is not None and prompt is None and negative_prompt is None:
        raise UserError("--checkpoint: encodes --prompt and --negative-prompt. Give one, or leave it out.")
    options_of_shards = spread.shard_options(out, shards, shard_pairs, part, force=force, restore=restore)
    if options_of_shards is not None and format != "mvtec":
        raise UserError(
            f"--format {format}: expected a data set folder to convert, found shards. Join them with "
            "seas-export merge, then run seas-export convert"
        )
    folder = Path(out) if options_of_shards is not None else expanded(Path(out), "--out")
    beside = None if options_of_shards is not None else check_beside(folder, format)
    if drawn is not None and options_of_shards is not None:
        raise UserError(
            "--masks generated: lie beside a data set folder, found shards. Write them with seas-export "
            "masks first, and give their folder to --placement-source"
        )
    if drawn is not None:
        wanted = drawn, placement_source, bundle, folder, defect, count, backend
        placement_source = masks_beside(*wanted, say=output.say)
    placed = Placing(
        placement.placement_options(
            where, per_picture, placement_source, box_sizes, legal, forbidden, per_background
        ),
        blend,
        mask,
    )
    opened = open_source(bundle, backend, threads, require_signature, devices, ray, mixed_devices)
    with opened as (generator, chosen):
        if chosen:
            output.say(chosen)
        method = find_method(generator.manifest.method)
        own = method.make_options(asked)
        placing = choose_placing(generator, source, onto, placed)
        if mask_from is not None:
            generator.measure_with(expanded(mask_from, "--mask-from"), require_signature)
        output.say(in_words(generator, placing))
        request = DatasetRequest(
            defects=tuple(defect or [UNSEEN]),
            count=count,
            seed=seed,
            batch=batch,
            sampling=Sampling(sampler, steps, guidance, tau, gate),
            options=own,
            placing=placing,
            oversample=oversample,
        )
        for line in unusable(generator.manifest, request.defects):
            output.say(line)
        if checkpoint is not None:
            from seas_export.bundles.own_prompts import encode_with_checkpoint

            encode_with_checkpoint(generator.bundle, checkpoint, tuple(method.prompts(own)))
        with pairs_progress("generate") as progress:
            if options_of_shards is not None:
                written = write_shards(generator, request, out, options_of_shards, progress)
            else:
                summary = write_dataset(generator, request, folder, progress, force=force, restore=restore)
    if options_of_shards is not None:
        output.report(written.to_dict(), spread.shards_in_words(written), json)
        return
    rows: list[tuple[object, ...]] = [
        (summary.labels.get(name, name), entry.pairs, entry.accepted, entry.first_try, entry.rejected)
        for name, entry in summary.defects.items()
    ]
    words = f"{summary.path}: {summary.seconds_per_pair:.2f} s per pair"
    if summary.continued:
        words += f"; {summary.continued} pairs were there already"
    if deleted := sum(entry.deleted for entry in summary.defects.values()):
        words += f"; {deleted} removed by hand, which --restore makes again"
    if left_out := sum(entry.left_out for entry in summary.defects.values()):
        words += f"; {left_out} more passed and were left out for ones with a better score"
    done = summary.to_dict()
    if beside is not None:
        converted = convert_dataset(folder, *beside, force=True)
        words += f"\n{converted.path}: {converted.format}, {converted.labels} labels"
        done["converted"] = converted.to_dict()
    text = output.group(
        output.table("", "pairs", "accepted", "at the first try", "never accepted", rows=rows), words
    )
    output.report(done, text, json)


@output.command("Run the same command again: the folder appears whole or not at all.")
def convert(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A data set that generate wrote.")],
    to: Annotated[
        str,
        typer.Option("--to", help="mvtec, coco, yolo-seg, yolo-det, labelme, cvat, folder or imagefolder."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    val: Annotated[
        float,
        typer.Option(
            "--val", help="Share of the pictures held out for validation; the same ones every time."
        ),
    ] = 0.2,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy pictures instead of linking them to the data set's.")
    ] = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write the accepted pairs of a data set in the format of a labelling or training tool."""
    from seas_runtime.dataset.formats.convert import convert_dataset

    done = convert_dataset(dataset, to, out, val=val, copy=copy, force=force)
    rows: list[tuple[object, ...]] = [
        (name, counts.train, counts.val, counts.weak) for name, counts in done.classes.items()
    ]
    words = (
        f"{done.path}: {done.format}, {done.labels} labels; {done.linked} files linked, {done.copied} copied"
    )
    if done.left_out:
        words += "; left out: " + ", ".join(f"{count} {why}" for why, count in done.left_out.items())
    text = output.group(output.table("", "train", "val", "weak", rows=rows), words)
    output.report(done.to_dict(), text, json)
